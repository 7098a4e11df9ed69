// Arguments and results of a compiled function: tensors, plain values, and tables of them, nested.
#pragma once

#include <string>
#include <vector>

#include "bindings/lua/lua.hpp"
#include "bindings/session/value.hpp"

namespace peri::lua {

struct Tree {
  enum class Kind : uint8_t { nil, boolean, number, string, tensor, table, group } kind = Kind::nil;
  bool boolean = false;
  double number = 0;  // or the tensor's position among the leaves
  std::string string;
  Group group;
  struct Item;
  std::vector<Item> items;  // of a table: array part first, then by key
};
struct Tree::Item {
  Tree key, value;
};

// Takes apart the value at `index`: tensors go to `leaves` in order. Depth is limited; functions and other
// values are errors.
Result<Tree> flatten(lua_State* L, int index, std::vector<session::ScriptValue>& leaves, int depth = 0);
// What distinguishes signatures: structure, plain values, and each tensor's type and allocator.
void append_signature(const Tree& tree, const std::vector<session::ScriptValue>& leaves, std::string& text);
// Pushes the value again, with these tensors as leaves.
void unflatten(lua_State* L, const Tree& tree, const std::vector<session::ScriptValue>& leaves);

}  // namespace peri::lua
