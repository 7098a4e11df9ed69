// The global environment of a script: where `require` finds modules, `arg`, and strict globals.
#pragma once

#include <string>
#include <vector>

#include "bindings/lua/lua.hpp"

namespace peri::lua {

// The folder that holds `peri/init.lua` and the rest of scripts/: beside an installed program, else in the
// source tree.
std::string library_folder();

// Opens Lua's own libraries and ours. Modules named peri or peri.* come from the program's library folder;
// the others from the script's folder.
void set_up_environment(lua_State* L, const std::string& script, const std::vector<std::string>& arguments);

}  // namespace peri::lua
