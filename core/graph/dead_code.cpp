// Dead-code elimination: keeps what an output or an effect needs.
#include <algorithm>
#include <functional>

#include "core/graph/graph.hpp"

namespace peri {

static std::vector<bool> live_nodes(const Graph& graph) {
  std::vector<bool> live(static_cast<size_t>(graph.size()), false);
  auto mark = [&](NodeId id) { live[static_cast<size_t>(id.index)] = true; };
  for (const Output& output : graph.outputs()) mark(output.value);
  // Users come after operands, so one sweep from the last node reaches everything.
  for (int i = graph.size() - 1; i >= 0; --i) {
    const Node& node = graph.node(NodeId(i));
    if (info(node.op).has(kEffect) || info(node.op).has(kSource)) mark(NodeId(i));
    if (live[static_cast<size_t>(i)])
      for (NodeId operand : node.operands) mark(operand);
  }
  return live;
}

bool has_dead_code(const Graph& graph) {
  return !std::ranges::all_of(live_nodes(graph), std::identity());
}

Graph eliminate_dead_code(const Graph& graph) {
  const std::vector<bool> live = live_nodes(graph);
  Graph result;
  std::vector<NodeId> renamed(live.size());
  for (int i = 0; i < graph.size(); ++i) {
    if (!live[static_cast<size_t>(i)]) continue;
    const Node& node = graph.node(NodeId(i));
    std::vector<NodeId> operands = node.operands;
    for (NodeId& operand : operands) operand = renamed[static_cast<size_t>(operand.index)];
    Result<NodeId> id =
        result.add(node.op, std::move(operands), node.attributes, node.origin, node.name, node.allocator);
    PERI_CHECK(id, "a node that was valid is refused");
    renamed[static_cast<size_t>(i)] = *id;
  }
  std::vector<Output> outputs = graph.outputs();
  for (Output& output : outputs) output.value = renamed[static_cast<size_t>(output.value.index)];
  result.set_outputs(std::move(outputs));
  return result;
}

}  // namespace peri
