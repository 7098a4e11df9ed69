// peri.compile: traces a Lua function once per input signature and calls what it compiled to.
#pragma once

#include "bindings/lua/lua.hpp"

namespace peri::lua {

// If the registry has a table under this name, every compiled function is appended to it: for `peri explain`.
inline constexpr const char* kAllCompiled = "peri.all_compiled";

// Adds `compile` to the table at the top of the stack and registers the metatable of compiled functions.
void register_compile(lua_State* L);

}  // namespace peri::lua
