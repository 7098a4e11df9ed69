// Common sub-expressions: operations of one kind, with equal attributes, on equal values are carried out
// once.
#include <algorithm>
#include <bit>
#include <cmath>
#include <unordered_map>

#include "core/graph/graph.hpp"
#include "core/hash.hpp"
#include "core/overloaded.hpp"
#include "core/store.hpp"

namespace peri {
namespace {

uint64_t hash_of(const AttributeValue& value) {
  Hash hash;
  std::visit(Overloaded{[&](bool b) { hash.mix(static_cast<uint64_t>(b)); },
                        [&](int64_t i) { hash.mix(static_cast<uint64_t>(i)); },
                        [&](double d) { hash.mix(std::isnan(d) ? 0 : std::bit_cast<uint64_t>(d)); },
                        [&](const std::string& text) { hash.mix(text); },
                        [&](const Ints& ints) {
                          for (int64_t i : ints) hash.mix(static_cast<uint64_t>(i));
                        },
                        [&](DType dtype) { hash.mix(static_cast<uint64_t>(dtype)); },
                        [&](Place place) { hash.mix(static_cast<uint64_t>(place)); },
                        [&](const Group& group) {
                          for (int rank : group.ranks) hash.mix(static_cast<uint64_t>(rank));
                        }},
             value);
  return hash.value();
}

// A `full` is free where it becomes an immediate, and as a tensor that is changed later it would have to be
// copied: it is known to be equal to others, and stays.
bool stays(Op op) {
  return info(op).has(kSource) || info(op).has(kEffect) || info(op).has(kCollective) || op == Op::full;
}
bool is_listed(Op op) {
  return !info(op).has(kView) && op != Op::result;
}

class Sharer {
 public:
  explicit Sharer(const Graph& graph) : graph_(graph) {
    for (int32_t i = 0; i < graph.size(); ++i) first_.push_back(first_equal(NodeId(i)));
  }

  bool finds_any() const {
    return std::ranges::any_of(first_.ids(), [&](NodeId id) { return is_left_out(id); });
  }

  SharedGraph run() {
    SharedGraph result;
    Store<NodeId, NodeId> renamed(first_.size());
    Store<NodeId, int> listed(first_.size(), -1);  // by the first: its place in the result's list
    for (NodeId old : first_.ids()) {
      const Node& node = graph_.node(old);
      if (is_left_out(old)) {
        const NodeId first = first_[old];
        renamed[old] = renamed[first];
        if (!is_listed(node.op)) continue;
        if (listed[first] < 0) {
          listed[first] = static_cast<int>(result.repeated.size());
          result.repeated.push_back({renamed[first], {}});
        }
        result.repeated[static_cast<size_t>(listed[first])].again.push_back(node.origin);
        continue;
      }
      if (serves_repetition_only(old)) continue;
      std::vector<NodeId> operands = node.operands;
      for (NodeId& operand : operands) operand = renamed[operand];
      Result<NodeId> id = result.graph.add(node.op, std::move(operands), node.attributes, node.origin,
                                           node.name, node.allocator);
      PERI_CHECK(id, "a node that was valid is refused");
      renamed[old] = *id;
    }
    std::vector<Output> outputs = graph_.outputs();
    for (Output& output : outputs) output.value = renamed[output.value];
    result.graph.set_outputs(std::move(outputs));
    return result;
  }

 private:
  // The first node with this one's value: itself, if it is the first.
  NodeId first_equal(NodeId id) {
    const Node& node = graph_.node(id);
    if (stays(node.op) && node.op != Op::full) return id;
    Hash hash;
    hash.mix(static_cast<uint64_t>(node.op));
    for (NodeId operand : node.operands) hash.mix(static_cast<uint64_t>(first_[operand].index));
    for (const auto& [name, value] : node.attributes.items()) hash.mix(hash_of(value));
    std::vector<NodeId>& candidates = known_[hash.value()];
    for (NodeId candidate : candidates)
      if (are_equal(graph_.node(candidate), node)) return candidate;
    candidates.push_back(id);
    return id;
  }
  bool are_equal(const Node& a, const Node& b) const {
    auto same = [&](NodeId x, NodeId y) { return first_[x] == first_[y]; };
    return a.op == b.op && a.type == b.type && a.attributes == b.attributes &&
           std::ranges::equal(a.operands, b.operands, same);
  }

  bool is_left_out(NodeId id) const { return first_[id] != id && !stays(graph_.node(id).op); }

  bool serves_repetition_only(NodeId id) const {
    if (first_[id] == id) return false;
    const std::vector<NodeId> users = graph_.users(id);
    return !users.empty() && std::ranges::all_of(users, [&](NodeId user) { return is_left_out(user); }) &&
           std::ranges::find(graph_.outputs(), id, &Output::value) == graph_.outputs().end();
  }

  const Graph& graph_;
  Store<NodeId, NodeId> first_;
  std::unordered_map<uint64_t, std::vector<NodeId>> known_;  // by hash: first nodes
};

}  // namespace

std::optional<SharedGraph> share_common_subexpressions(const Graph& graph) {
  Sharer sharer(graph);
  if (!sharer.finds_any()) return std::nullopt;
  return sharer.run();
}

}  // namespace peri
