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
  // Or the tensor's position among the leaves.
  double number = 0;
  std::string string;
  Group group;
  // Of a table: its list, then what it has under names, in their order.
  struct Item;
  std::vector<Item> items;
  size_t list_size = 0;
  // Where among the named items those stand that Lua gives first, second and so on: as it was last time.
  mutable std::vector<size_t> visited{};

  // The same structure and plain values, to the bit.
  bool operator==(const Tree& other) const;
};
struct Tree::Item {
  Tree key, value;
  bool operator==(const Item&) const = default;
};

// Takes apart the value at `index`: tensors go to `leaves` in order. Depth is limited; functions and other
// values are errors.
Result<Tree> flatten(lua_State* L, int index, std::vector<session::ScriptValue>& leaves, int depth = 0);
// Pushes the value again, with these tensors as leaves, each of which is taken.
void unflatten(lua_State* L, const Tree& tree, std::vector<session::ScriptValue>& leaves);

// What one compilation of a function is valid for: the structure of its arguments, their plain values, and
// each tensor's type and allocator.
class Signature {
 public:
  // Of arguments that have been taken apart: a table of them, and its tensors.
  Signature(Tree arguments, const std::vector<session::ScriptValue>& leaves);

  // Whether the values from `first` to the top of the stack have this signature; then `tensors` points at
  // their tensors, as long as Lua keeps them. May say no of tables whose list is not in order, or that have
  // keys which do not count; `operator==` decides for these.
  bool matches(lua_State* L, int first, std::vector<const kernels::Tensor*>& tensors) const;
  bool operator==(const Signature& other) const;

  const Tree& arguments() const { return arguments_; }

 private:
  struct Leaf {
    TensorType type;
    Allocator allocator;
    bool operator==(const Leaf&) const = default;
  };

  Tree arguments_;
  std::vector<Leaf> leaves_;
  uint64_t hash_;
};

}  // namespace peri::lua
