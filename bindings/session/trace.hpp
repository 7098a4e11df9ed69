// A trace: the Graph that a compiled function's body builds while it runs once on symbols. The graph is
// functional; what the script changes in place is followed here. A traced tensor is a view on a storage, as
// an eager tensor is, by the same rule. A storage has a newest value, which is a node: a write makes the
// next, and whoever reads a view after that derives it from the newest.
#pragma once

#include <memory>
#include <vector>

#include "bindings/session/value.hpp"
#include "core/graph/graph.hpp"
#include "core/store.hpp"

namespace peri::session {

// A result of a traced function, as its caller gets it: all or a view of an output of the graph, of an
// argument or of a captured tensor, whose storage it shares as it would eagerly.
struct Returned {
  struct ViewStep {
    Op op;
    Attributes attributes;
  };
  enum class From : uint8_t { output, argument, captured } from;
  // Among the outputs or the arguments.
  size_t index = 0;
  kernels::Tensor captured;
  // The first first.
  std::vector<ViewStep> views;
};

class Trace : public std::enable_shared_from_this<Trace> {
 public:
  // On rank `rank`, which matters to shards.
  explicit Trace(int rank) : rank_(rank) {}

  // The next argument of the function, whose tensor of this call lies in the window `view`.
  Result<ScriptValue> input(const TensorType& type, const View& view, const Allocator& allocator,
                            const Origin& origin);
  // A captured tensor that each call passes: an input once the trace uses it.
  ScriptValue captured_input(const TensorType& type, const View& view, const Allocator& allocator,
                             const Origin& origin);
  // Of each of these, in their order, the number of the input, from 0; -1 if the trace has not used it.
  std::vector<int> captured_inputs() const;
  // Appends an operation; tensors become captured constants, numbers become `full` of scalar_dtype.
  // Its results.
  Result<std::vector<ScriptValue>> add(Op op, const std::vector<Argument>& operands, Attributes attributes,
                                       const Origin& origin);
  // Writes `value` into `target`, whatever it is a view of. Arguments and captured tensors are written back
  // when the call ends.
  Status assign(const ScriptValue& target, const ScriptValue& value, const Origin& origin);

  // Ends the trace: the graph with these results and the write-backs as outputs. Captured tensors that were
  // written are its last inputs.
  Result<Graph> finish(const std::vector<ScriptValue>& results);
  // Once it has ended: the captured tensors that are only read, by constant, and those that are written, by
  // input after the arguments.
  const std::vector<kernels::Tensor>& constants() const { return constants_; }
  const std::vector<kernels::Tensor>& written() const { return written_; }
  // And how its results are made, by result.
  const std::vector<Returned>& returned() const { return returned_; }

 private:
  struct StorageTag {};
  using StorageId = Id<StorageTag>;
  struct Storage {
    // The tensor that is all of it.
    TracedId base;
    // How often it was written.
    int version = 0;
  };
  struct Traced {
    StorageId storage;
    // The tensor that it is a view of, by which op; not valid: all of the storage.
    TracedId parent;
    Op op = Op::input;
    Attributes attributes;
    // Its value when the storage had this version.
    NodeId node;
    int version = 0;
    // As an eager tensor's, but that a storage begins at offset 0.
    View view;
    Origin made;
  };
  struct Captured {
    kernels::Tensor tensor;
    TracedId id;
  };
  struct CapturedInput {
    TracedId id;
    TensorType type;
    Allocator allocator;
  };

  Traced& traced(TracedId id) { return traced_[id]; }
  Storage& storage(TracedId id) { return storages_[traced_[id].storage]; }
  TracedId add_storage(NodeId node, const View& view, const Origin& origin);
  // A view op's result: on its parent's storage if it can share it, else a storage of its own.
  TracedId add_view(TracedId parent, NodeId node, const Origin& origin);
  Result<TracedId> id_of(const ScriptValue& value, const Origin& origin);
  Result<TracedId> captured(const ScriptValue& value);
  Result<TracedId> constant(const kernels::Tensor& t, const Origin& made);
  Result<NodeId> add_input(const TensorType& type, const Allocator& allocator, const Origin& origin);
  Status use_captured_input(TracedId base);
  // The newest value.
  Result<NodeId> read(TracedId id);
  Result<NodeId> node_of(const Argument& argument, DType scalar_dtype, const Origin& origin);
  // The base's next value, of which the view `target` is `value`.
  Result<NodeId> next_value(TracedId target, NodeId value, const Origin& origin);
  Status take_results(const std::vector<ScriptValue>& results, std::vector<Output>& outputs);
  Status take_written(std::vector<Output>& outputs);

  int rank_;
  Graph graph_;
  Store<TracedId, Traced> traced_;
  Store<StorageId, Storage> storages_;
  std::vector<TracedId> inputs_;
  // The captured tensors that are constants of the graph, and what they are here.
  std::vector<kernels::Tensor> constants_;
  std::vector<TracedId> constant_ids_;
  // As scripts use them: a transposed one is a view on a constant.
  std::vector<Captured> captured_;
  std::vector<CapturedInput> captured_inputs_;
  std::vector<kernels::Tensor> written_;
  std::vector<Returned> returned_;
};

// The dtype a plain number takes among these operands: the first tensor's that is not the condition of a
// `where`; f32 if none.
DType scalar_dtype(Op op, const std::vector<Argument>& operands);

// Of a write to a tensor that repeats elements.
std::unexpected<Error> refuse_repeating(const Origin& origin);
// The refusal of a symbol where no function is traced.
std::unexpected<Error> refuse_symbol(const Origin& origin);

}  // namespace peri::session
