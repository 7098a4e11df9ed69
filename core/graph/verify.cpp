// What must hold for every graph, checked anew from the op table: after parsing, and between passes.
#include <fmt/format.h>

#include "core/graph/graph.hpp"
#include "core/ops/attributes_of.hpp"

namespace peri {

namespace {

Status verify_node(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  std::vector<TensorType> types;
  for (NodeId operand : node.operands) {
    if (!operand.valid() || operand.index >= id.index)
      return fail(Code::InvalidArgument, fmt::format("operand {} does not precede it", to_string(operand)));
    types.push_back(graph.node(operand).type);
  }
  const OpInfo& row = info(node.op);
  if (row.has(kComposite)) return fail(Code::InvalidArgument, "a composite op does not stand in a graph");
  if (PERI_TRY(complete(node.op, node.attributes, types)) != node.attributes)
    return fail(Code::InvalidArgument, "the attributes are not complete");
  const TensorType type = PERI_TRY(infer(node.op, types, node.attributes));
  if (node.op == Op::result) PERI_TRY(check_further_result(graph, node.operands[0], node.attributes));
  if (type != node.type)
    return fail(Code::InvalidArgument,
                fmt::format("the type is {}, and {} is stored", type.to_string(), node.type.to_string()));
  if (row.family == Family::window) {
    const std::optional<View> window = window_of(graph, node.operands[1], node.operands[0], -1);
    if (!window) return fail(Code::InvalidArgument, "the second operand is no view of the first");
    if (window->repeats()) return fail(Code::InvalidArgument, "the view repeats elements");
  }
  if (!row.has(kSource) && !std::holds_alternative<DefaultAllocator>(node.allocator))
    return fail(Code::InvalidArgument, "only inputs and constants have an allocator of their own");
  return {};
}

// The indices of inputs, or of constants, are 0, 1, 2, ...
Status verify_indices(const Graph& graph, const std::vector<NodeId>& sources, const char* what) {
  for (size_t i = 0; i < sources.size(); ++i) {
    const Node& node = graph.node(sources[i]);
    if (const int64_t index = node.attributes.get<"index">(); index != static_cast<int64_t>(i))
      return fail(
          Code::InvalidArgument,
          fmt::format("the {}s' indices are not 0, 1, 2, ...: {} where {} is expected", what, index, i),
          node.origin);
  }
  return {};
}

Status verify_outputs(const Graph& graph) {
  const std::vector<NodeId> inputs = graph.inputs();
  std::vector<bool> mutated(inputs.size(), false);
  for (const Output& output : graph.outputs()) {
    if (!output.value.valid() || output.value.index >= graph.size())
      return fail(Code::InvalidArgument, fmt::format("output {} does not exist", to_string(output.value)));
    if (output.mutated_input == -1) continue;
    const Node& node = graph.node(output.value);
    if (output.mutated_input < 0 || static_cast<size_t>(output.mutated_input) >= inputs.size())
      return fail(
          Code::InvalidArgument,
          fmt::format("an output is written back to input {}, which does not exist", output.mutated_input),
          node.origin);
    const size_t index = static_cast<size_t>(output.mutated_input);
    const TensorType& type = graph.node(inputs[index]).type;
    if (node.type != type)
      return fail(Code::InvalidArgument,
                  fmt::format("{} is written back to input {}, which is {}", node.type.to_string(), index,
                              type.to_string()),
                  node.origin);
    if (mutated[index])
      return fail(Code::InvalidArgument, fmt::format("two outputs are written back to input {}", index),
                  node.origin);
    mutated[index] = true;
  }
  return {};
}

}  // namespace

Status verify(const Graph& graph) {
  for (int i = 0; i < graph.size(); ++i)
    if (Status status = verify_node(graph, NodeId(i)); !status) {
      Error error = std::move(status).error();
      const Node& node = graph.node(NodeId(i));
      error.message = fmt::format("{} ({}): {}", to_string(NodeId(i)), to_string(node.op), error.message);
      error.where = node.origin;
      return std::unexpected(std::move(error));
    }
  PERI_TRY(verify_indices(graph, graph.inputs(), "input"));
  PERI_TRY(verify_indices(graph, graph.constants(), "constant"));
  return verify_outputs(graph);
}

}  // namespace peri
