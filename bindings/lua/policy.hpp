// A policy table becomes a Policy; fields that choose may be Lua functions of an operation's context.
#pragma once

#include <string>
#include <vector>

#include "bindings/lua/lua.hpp"
#include "planner/policy.hpp"

namespace peri::lua {

// The table at `index`. Functions are kept in the registry for the state's life. Unknown fields are errors
// with the nearest name.
Result<planner::Policy> read_policy(lua_State* L, int index);

// The names of all fields.
std::vector<std::string> policy_fields();

}  // namespace peri::lua
