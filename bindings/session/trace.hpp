// A trace: the Graph that a compiled function's body builds while it runs once on symbols.
#pragma once

#include <memory>
#include <vector>

#include "bindings/session/value.hpp"
#include "core/graph/graph.hpp"

namespace peri::session {

class Trace : public std::enable_shared_from_this<Trace> {
 public:
  // The index-th argument of the function.
  Result<ScriptValue> input(const TensorType& type, const Allocator& allocator, const Origin& origin);
  // Appends an operation; tensors become captured constants, numbers become `full` of scalar_dtype.
  Result<ScriptValue> add(Op op, const std::vector<Argument>& operands, Attributes attributes,
                          const Origin& origin);
  // `target` (a symbol) now means `value`; if it was an argument, the argument is written back when the call
  // ends.
  Status assign(ScriptValue& target, const ScriptValue& value, const Origin& origin);

  // Ends the trace: the graph with these results and the write-backs as outputs.
  Result<Graph> finish(const std::vector<ScriptValue>& results);
  const std::vector<kernels::Tensor>& constants() const { return constants_; }

 private:
  Result<NodeId> node_of(const Argument& argument, DType scalar_dtype, const Origin& origin);
  Result<NodeId> constant(const ScriptValue& value);
  Result<NodeId> constant(const kernels::Tensor& t, const Origin& made);

  Graph graph_;
  std::vector<kernels::Tensor> constants_;
  std::vector<NodeId> constant_nodes_;
  std::vector<NodeId> inputs_;
  std::vector<std::pair<NodeId, int>> holder_;  // a changed argument: its value now, its index
};

// The dtype a plain number takes among these operands: the first tensor's that is not the condition of a
// `where`; f32 if none.
DType scalar_dtype(Op op, const std::vector<Argument>& operands);

}  // namespace peri::session
