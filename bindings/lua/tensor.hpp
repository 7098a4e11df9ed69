// Tensors as Lua sees them: a userdata with one metatable, whose methods are the op table's and a few of its
// own.
#pragma once

#include "bindings/lua/lua.hpp"
#include "bindings/session/value.hpp"

namespace peri::lua {

struct LuaTensor {
  static constexpr const char* kLuaName = "peri.Tensor";
  session::ScriptValue value;
};
struct LuaGroup {
  static constexpr const char* kLuaName = "peri.Group";
  Group group;
};

// Whether x:op_(...) exists, whose result takes the place of its operand.
bool has_in_place_form(Op op);
// Names of methods that people know from elsewhere.
struct Alias {
  const char *alias, *name;
};
inline constexpr Alias kMethodAliases[] = {
    {"mm", "matmul"}, {"bmm", "matmul"}, {"view", "reshape"}, {"t", "transpose"}};

void push_tensor(lua_State* L, session::ScriptValue value);
Result<session::ScriptValue*> to_tensor(lua_State* L, int index, const char* what);
// A group, or a table of ranks (0-based, each once).
Result<Group> to_group(lua_State* L, int index);

// Fills the table at the top of the stack with the functions of the op table and of tensors; registers the
// metatables.
void register_tensor(lua_State* L);

}  // namespace peri::lua
