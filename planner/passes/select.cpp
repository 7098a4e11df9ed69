// Decides which algorithm carries out each collective, and says why (S2 of SYSTEMS.md). An explicit choice
// (peri.symm.*) is kept; otherwise the policy's function is asked, then its thresholds.
#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {

OpContext op_context(const Graph& graph, NodeId id, const Policy& policy) {
  const Node& node = graph.node(id);
  const TensorType& type = node.operands.empty() ? node.type : graph.node(node.operands[0]).type;
  OpContext context{node.op, type.dtype, type.shape, type.bytes(), 1, "", policy.machine, node.origin};
  if (info(node.op).has(kCollective)) context.group_size = node.attributes.get<"group">().size();
  if (const auto reduce = node.attributes.find<"reduce">()) context.reduce = to_string(*reduce);
  return context;
}

std::string decision_subject(Op op, const Origin& origin) {
  std::string subject(to_string(op));
  return origin.known() ? subject + " at " + origin.to_string() : subject;
}

namespace {

const Choice<std::string>* choice_for(Op op, const Policy& policy) {
  switch (op) {
    case Op::all_reduce:
      return &policy.all_reduce;
    case Op::all_gather:
      return &policy.all_gather;
    case Op::reduce_scatter:
      return &policy.reduce_scatter;
    case Op::all_to_all:
      return &policy.all_to_all;
    case Op::broadcast:
      return &policy.broadcast;
    default:
      return nullptr;
  }
}

// The fallback of every collective: it asks nothing of its operands.
constexpr std::string_view kPlain = "ll";
// What is left of all that between GPUs without P2P.
constexpr std::string_view kNccl = "nccl";

std::string unknown_algorithm(Op op, const std::string& name) {
  std::vector<std::string> names;
  for (const AlgorithmInfo& row : algorithms())
    if (row.op == op) names.emplace_back(row.name);
  std::string reason = fmt::format("the policy's \"{}\" is unknown", name);
  if (auto near = nearest(name, names)) reason += fmt::format("; did you mean \"{}\"?", *near);
  return reason;
}

// Multicast hardware adds and compares, but does not multiply.
bool supports(const AlgorithmInfo& algorithm, const std::string& reduce) {
  return !(reduce == "prod" && algorithm.name.starts_with("multimem"));
}

struct Choosing {
  std::string_view name;
  std::string reason;
};

// Why the machine's ranks cannot use an algorithm; empty if they can.
std::string refusal(const AlgorithmInfo& algorithm, const Policy& policy) {
  if (algorithm.name == kNccl && !policy.nccl)
    return policy.machine == "host" ? "nccl is for GPUs" : "nccl needs its library and a GPU for every rank";
  if (algorithm.symmetric != kNoOperand && !policy.symmetric_memory)
    return fmt::format("{} needs GPUs that reach each other's memory", algorithm.name);
  return "";
}

// Up to which sizes (bytes) ll and one_shot answer soonest, as measured: `peri bench all_reduce` on two host
// ranks; on two and four H200s. There ll moves floats that are reduced without flags, at half the cost of
// other data, and one_shot is never first.
struct Thresholds {
  int64_t ll, one_shot;
};
Thresholds thresholds(const OpContext& context, const Policy& policy) {
  Thresholds measured{4 << 10, 4 << 10};
  if (policy.machine != "host") {
    const bool without_flags = context.op == Op::all_reduce && is_float(context.dtype);
    measured.ll = measured.one_shot = without_flags ? 4 << 20 : 256 << 10;
  }
  return {policy.ll_bytes.value_or(measured.ll), policy.one_shot_bytes.value_or(measured.one_shot)};
}

Choosing by_size(const OpContext& context, const Policy& policy) {
  auto limit = [&](int64_t bytes, const char* relation) {
    return fmt::format("{} bytes {} {}", context.bytes, relation, bytes);
  };
  if (!policy.symmetric_memory)
    return {policy.nccl ? kNccl : kPlain, "these GPUs cannot reach each other's memory"};
  const Thresholds up_to = thresholds(context, policy);
  if (context.bytes <= up_to.ll) return {kPlain, limit(up_to.ll, "<= ll_bytes")};
  if (context.bytes <= up_to.one_shot) return {"one_shot", limit(up_to.one_shot, "<= one_shot_bytes")};
  std::string reason = "too large for one_shot: " + limit(up_to.one_shot, "> one_shot_bytes");
  if (context.op == Op::all_reduce) return {"two_shot", std::move(reason)};
  return {"one_shot", limit(up_to.one_shot, "> one_shot_bytes") + ", and nothing scales better"};
}

// The conditions in order; the first that fails is the reason.
Result<Choosing> choose(const OpContext& context, const Policy& policy, Selecting selecting,
                        std::string& policy_name) {
  const Choice<std::string>* choice = choice_for(context.op, policy);
  if (!choice) return Choosing{kPlain, "its only algorithm"};
  if (selecting == Selecting::plain) return Choosing{kPlain, "selection is off"};
  if (context.bytes == 0) return Choosing{kPlain, "the operand cannot be realized: it has no elements"};
  if (*choice) policy_name = PERI_TRY((*choice)(context));
  if (policy_name.empty()) return by_size(context, policy);
  const AlgorithmInfo* algorithm = find_algorithm(context.op, policy_name);
  if (!algorithm) return Choosing{kPlain, unknown_algorithm(context.op, policy_name)};
  if (!supports(*algorithm, context.reduce))
    return Choosing{kPlain, fmt::format("{} does not support the reduction {}", policy_name, context.reduce)};
  if (std::string reason = refusal(*algorithm, policy); !reason.empty())
    return Choosing{kPlain, std::move(reason)};
  return Choosing{policy_name, "the policy's choice"};
}

}  // namespace

Result<Selection> select_algorithms(const Graph& graph, const Policy& policy, Selecting selecting) {
  Selection selection;
  selection.algorithm.resize(static_cast<size_t>(graph.size()), nullptr);
  for (NodeId id : graph.topological_order()) {
    const Node& node = graph.node(id);
    if (!info(node.op).has(kCollective)) continue;
    const AlgorithmInfo*& algorithm = selection.algorithm[static_cast<size_t>(id.index)];
    auto decide = [&](std::string choice, std::string reason) {
      selection.decisions.push_back(
          {decision_subject(node.op, node.origin), std::move(choice), std::move(reason)});
    };

    const OpContext context = op_context(graph, id, policy);
    if (context.group_size == 1) {
      decide("identity", "the group has one rank");
      continue;
    }
    if (const std::string named = node.attributes.find<"algorithm">().value_or(""); !named.empty()) {
      algorithm = find_algorithm(node.op, named);
      decide(std::string(algorithm->name), "named in the script");
      continue;
    }
    std::string policy_name;
    const Choosing chosen = PERI_TRY(choose(context, policy, selecting, policy_name));
    algorithm = find_algorithm(node.op, chosen.name);
    PERI_CHECK(algorithm, "the planner chose an algorithm that the op does not have");
    if (choice_for(node.op, policy)) decide(std::string(chosen.name), chosen.reason);
  }
  return selection;
}

}  // namespace peri::planner
