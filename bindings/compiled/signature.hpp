// What one compilation of a function is valid for: the structure of its arguments, their plain values, and
// each tensor's type and allocator.
#pragma once

#include <utility>
#include <vector>

#include "bindings/compiled/tree.hpp"

namespace peri::lua::compiled {

// The tables that a match meets: the addresses by number, and of those that stand in several places, number
// and address.
struct MatchedTables {
  std::vector<const void*> addresses;
  std::vector<std::pair<size_t, const void*>> repeated;
};

class Signature {
 public:
  // Of arguments that have been taken apart: a table of them, and its tensors.
  Signature(Tree arguments, const std::vector<session::ScriptValue>& leaves);

  // Whether the values from `first` to the top of the stack have this signature; then `tensors` points at
  // their tensors, as long as Lua keeps them. May say no of tables whose list is not in order; `operator==`
  // decides for these.
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
  mutable MatchedTables scratch_{};
};

}  // namespace peri::lua::compiled
