// Asks the policy's functions about every operation, before anything is planned: what follows is a function
// of data alone, and a Plan holds nothing of the script's.
#include "core/ops/positions.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {

Result<Choices> resolve(const Graph& graph, Selection selection, const Policy& policy) {
  Choices choices{std::move(selection.algorithm), Store<NodeId, bool>(graph.size(), false), policy.lowering,
                  policy.capture, std::move(selection.decisions)};
  if (!policy.capture) return choices;
  for (NodeId id : graph.topological_order()) {
    const Node& node = graph.node(id);
    // Work on host memory cannot be captured.
    if (info(node.op).has(kSource) || node.type.place != Place::device) continue;
    const bool checked =
        policy.check_positions && positions_of(node.op, node.attributes, node.operands.size());
    const bool splits = policy.split && PERI_TRY(policy.split(op_context(graph, id, policy)));
    choices.captured[id] = !checked && !splits;
    if (checked)
      choices.decisions.push_back(
          {decision_subject(node.op, node.origin), "not captured", "its positions are checked at each call"});
  }
  return choices;
}

}  // namespace peri::planner
