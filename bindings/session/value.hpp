// ScriptValue is what a script holds: a tensor with memory, or a symbol that stands for a node of the
// function being traced. The same methods work on both.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/graph/graph.hpp"
#include "kernels/tensor.hpp"

namespace peri::session {

class Trace;
struct TracedTag {};
// A tensor of a trace.
using TracedId = Id<TracedTag>;

// Shared with its trace (std::shared_ptr): a script may keep a symbol after the trace has ended, and is told
// so when it uses it.
struct Symbol {
  std::shared_ptr<Trace> trace;
  TracedId id;
  TensorType type;
};

struct ScriptValue {
  std::variant<kernels::Tensor, Symbol> data;
  Origin made;  // the user's line that made it
  bool is_symbol() const { return std::holds_alternative<Symbol>(data); }
  const kernels::Tensor& tensor() const { return std::get<kernels::Tensor>(data); }
  const Symbol& symbol() const { return std::get<Symbol>(data); }
  const TensorType& type() const { return is_symbol() ? symbol().type : tensor().type; }
};

// An operand as scripts write it: a value, or a plain number that takes the other operands' dtype.
using Argument = std::variant<ScriptValue, double>;

}  // namespace peri::session
