// peri.compile: traces a Lua function once per input signature and calls what it compiled to.
#pragma once

#include <vector>

#include "bindings/commands/report.hpp"
#include "bindings/lua/lua.hpp"

namespace peri::lua::compiled {

// For `peri explain`: from here on every compiled function is kept, and what they compiled to can be listed,
// one entry for each input signature.
void keep_compiled(lua_State* L);
std::vector<commands::ReportEntry> compiled_programs(lua_State* L);

// Adds `compile` to the table at the top of the stack and registers the metatable of compiled functions.
void register_compile(lua_State* L);

}  // namespace peri::lua::compiled
