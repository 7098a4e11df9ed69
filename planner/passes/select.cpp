// Decides which algorithm carries out each collective, and says why (S2 of SYSTEMS.md). An explicit choice
// (peri.symm.*) is kept; otherwise the policy's function is asked, then its thresholds.
#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {
namespace {

// Up to which sizes ll and one_shot answer soonest, as measured: `peri bench all_reduce` on two host
// ranks; on two and four H200s. There ll moves floats that are reduced without flags, at half the cost of
// other data, and one_shot is never first.
struct Thresholds {
  Bytes ll, one_shot;
};
Thresholds thresholds(const OpContext& context, const Policy& policy) {
  Thresholds measured{Bytes(4 << 10), Bytes(4 << 10)};
  if (policy.machine != "host") {
    const bool without_flags = context.op == Op::all_reduce && is_float(context.dtype);
    measured.ll = measured.one_shot = Bytes(without_flags ? 4 << 20 : 256 << 10);
  }
  return {policy.ll_bytes.value_or(measured.ll), policy.one_shot_bytes.value_or(measured.one_shot)};
}

}  // namespace

OpContext op_context(const Graph& graph, NodeId id, const Policy& policy) {
  const Node& node = graph.node(id);
  const TensorType& type = node.operands.empty() ? node.type : graph.node(node.operands[0]).type;
  OpContext context{node.op, type.dtype, type.shape, type.bytes(), 1, "", policy.machine, {}, node.origin};
  if (info(node.op).has(kCollective)) {
    const Group& group = node.attributes.get<"group">();
    context.group_size = group.size();
    context.reach = policy.topology.reach(group);
  }
  if (const auto reduce = node.attributes.find<"reduce">()) context.reduce = to_string(*reduce);
  context.ll_bytes = thresholds(context, policy).ll;
  return context;
}

std::string decision_subject(Op op, const Origin& origin) {
  std::string subject(to_string(op));
  return origin.known() ? subject + " at " + origin.to_string() : subject;
}

namespace {

std::string unknown_algorithm(Op op, const std::string& name) {
  std::string reason = fmt::format("the policy's \"{}\" is unknown", name);
  if (auto near = nearest(name, algorithm_names(op))) reason += fmt::format("; did you mean \"{}\"?", *near);
  return reason;
}

// Multicast hardware adds and compares, but does not multiply.
bool supports(Algorithm algorithm, const std::string& reduce) {
  return !(reduce == "prod" && uses_multicast(algorithm));
}

struct Chosen {
  Algorithm algorithm;
  std::string reason;
};

// Why the members of its group cannot use an algorithm; empty if they can.
std::string refusal(const AlgorithmInfo& row, const OpContext& context) {
  if (row.algorithm == Algorithm::nccl && !context.reach.nccl)
    return context.machine == "host" ? "nccl is for GPUs" : "nccl needs its library and a GPU for every rank";
  if (row.symmetric != kNoOperand && !context.reach.memory)
    return fmt::format("{} needs GPUs that reach each other's memory", row.name);
  return "";
}

Chosen by_size(const OpContext& context, const Policy& policy) {
  auto limit = [&](Bytes bytes, const char* relation) {
    return fmt::format("{} bytes {} {}", context.bytes.count(), relation, bytes.count());
  };
  auto has = [&](Algorithm algorithm) { return find_algorithm(context.op, algorithm) != nullptr; };
  if (!context.reach.memory)
    return {context.reach.nccl && has(Algorithm::nccl) ? Algorithm::nccl : Algorithm::ll,
            "these GPUs cannot reach each other's memory"};
  const Thresholds up_to = thresholds(context, policy);
  if (context.bytes <= up_to.ll) return {Algorithm::ll, limit(up_to.ll, "<= ll_bytes")};
  if (context.bytes <= up_to.one_shot)
    return {Algorithm::one_shot, limit(up_to.one_shot, "<= one_shot_bytes")};
  std::string reason = limit(up_to.one_shot, "> one_shot_bytes");
  if (has(Algorithm::two_shot)) return {Algorithm::two_shot, "too large for one_shot: " + std::move(reason)};
  return {Algorithm::one_shot, std::move(reason) + ", and nothing scales better"};
}

// The conditions in order; the first that fails is the reason, and then `ll`, which every collective has and
// which asks nothing of its operands.
Result<Chosen> choose(const OpContext& context, const Policy& policy) {
  if (!collective_info(context.op).has_choice()) return Chosen{Algorithm::ll, "its only algorithm"};
  if (!policy.auto_select) return Chosen{Algorithm::ll, "selection is off"};
  if (context.bytes == Bytes())
    return Chosen{Algorithm::ll, "the operand cannot be realized: it has no elements"};
  const auto choice = policy.algorithms.find(context.op);
  std::string name;
  if (choice != policy.algorithms.end() && choice->second) name = PERI_TRY(choice->second(context));
  if (name.empty()) return by_size(context, policy);
  const AlgorithmInfo* row = find_algorithm(context.op, name);
  if (!row) return Chosen{Algorithm::ll, unknown_algorithm(context.op, name)};
  if (!supports(row->algorithm, context.reduce))
    return Chosen{Algorithm::ll, fmt::format("{} does not support the reduction {}", name, context.reduce)};
  if (std::string reason = refusal(*row, context); !reason.empty())
    return Chosen{Algorithm::ll, std::move(reason)};
  return Chosen{row->algorithm, "the policy's choice"};
}

}  // namespace

Result<Selection> select_algorithms(const Graph& graph, const Policy& policy) {
  Selection selection;
  selection.algorithm.assign(graph.size(), nullptr);
  for (NodeId id : graph.topological_order()) {
    const Node& node = graph.node(id);
    if (!info(node.op).has(kCollective)) continue;
    const AlgorithmInfo*& algorithm = selection.algorithm[id];
    auto decide = [&](std::string choice, std::string reason) {
      selection.decisions.push_back(
          {decision_subject(node.op, node.origin), std::move(choice), std::move(reason)});
    };

    const OpContext context = op_context(graph, id, policy);
    if (context.group_size == 1) {
      // The policy's function is called all the same, so that its mistakes show on one rank, too.
      static_cast<void>(PERI_TRY(choose(context, policy)));
      decide("identity", "the group has one rank");
      continue;
    }
    if (const std::string named = node.attributes.find<"algorithm">().value_or(""); !named.empty()) {
      algorithm = find_algorithm(node.op, named);
      decide(std::string(algorithm->name), "named in the script");
      continue;
    }
    const Chosen chosen = PERI_TRY(choose(context, policy));
    algorithm = find_algorithm(node.op, chosen.algorithm);
    PERI_CHECK(algorithm, "the planner chose an algorithm that the op does not have");
    if (collective_info(node.op).has_choice()) decide(std::string(algorithm->name), chosen.reason);
  }
  return selection;
}

}  // namespace peri::planner
