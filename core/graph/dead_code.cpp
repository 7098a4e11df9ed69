// Dead-code elimination: keeps what an output or an effect needs.
#include <algorithm>
#include <functional>

#include "core/graph/graph.hpp"
#include "core/store.hpp"

namespace peri {

static Store<NodeId, bool> live_nodes(const Graph& graph) {
  Store<NodeId, bool> live(graph.size(), false);
  auto mark = [&](NodeId id) { live[id] = true; };
  for (const Output& output : graph.outputs()) mark(output.value);
  // Users come after operands, so one sweep from the last node reaches everything.
  for (NodeId id : live.ids() | std::views::reverse) {
    const Node& node = graph.node(id);
    if (info(node.op).has(kEffect) || info(node.op).has(kSource)) mark(id);
    if (live[id])
      for (NodeId operand : node.operands) mark(operand);
  }
  return live;
}

bool has_dead_code(const Graph& graph) {
  return !std::ranges::all_of(live_nodes(graph), std::identity());
}

Graph eliminate_dead_code(const Graph& graph) {
  const Store<NodeId, bool> live = live_nodes(graph);
  Graph result;
  Store<NodeId, NodeId> renamed(live.size());
  for (NodeId old : live.ids()) {
    if (!live[old]) continue;
    const Node& node = graph.node(old);
    std::vector<NodeId> operands = node.operands;
    for (NodeId& operand : operands) operand = renamed[operand];
    Result<NodeId> id =
        result.add(node.op, std::move(operands), node.attributes, node.origin, node.name, node.allocator);
    PERI_CHECK(id, "a node that was valid is refused");
    renamed[old] = *id;
  }
  std::vector<Output> outputs = graph.outputs();
  for (Output& output : outputs) output.value = renamed[output.value];
  result.set_outputs(std::move(outputs));
  return result;
}

}  // namespace peri
