// The Graph's store: nodes by id, and their edges in a Boost adjacency_list. The only file that sees
// Boost.Graph.
#include "core/graph/graph.hpp"

#include <algorithm>
#include <deque>
#include <numeric>
#include <ranges>

#include <fmt/format.h>
#include <boost/graph/adjacency_list.hpp>

#include "core/ops/attributes_of.hpp"
#include "core/store.hpp"

namespace peri {

namespace {

// One edge per use, from the operand to its user. Vertex i is node i: vecS numbers them in order, and none is
// removed.
using Edges = boost::adjacency_list<boost::vecS, boost::vecS, boost::bidirectionalS>;

size_t vertex(NodeId id) {
  return static_cast<size_t>(id.index);
}

// Adds what only the graph knows: the op's name, the user's line, and where each operand came from.
Error describe(Error error, const Graph& graph, Op op, const std::vector<NodeId>& operands,
               const Origin& origin) {
  error.message = fmt::format("{}: {}", to_string(op), error.message);
  error.where = origin;
  constexpr size_t kShown = 8;
  for (size_t i = 0; i < std::min(operands.size(), kShown); ++i) {
    const Node& operand = graph.node(operands[i]);
    std::string line = operand_name(i);
    if (!operand.name.empty()) line += " = " + operand.name;
    line += " : " + operand.type.to_string();
    if (operand.origin.known()) line += "   made at " + operand.origin.to_string();
    error.context.push_back(std::move(line));
  }
  if (operands.size() > kShown) error.context.push_back(fmt::format("and {} more", operands.size() - kShown));
  return error;
}

}  // namespace

struct Graph::Impl {
  Edges edges;
  Store<NodeId, Node, std::deque<Node>> nodes;  // a deque, so that a Node& outlives later additions
  std::vector<Output> outputs;
  std::vector<NodeId> inputs, constants;  // by index
};

Graph::Graph() : impl_(std::make_unique<Impl>()) {}
Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
Graph::Graph(const Graph& other) : impl_(std::make_unique<Impl>(*other.impl_)) {}
Graph& Graph::operator=(const Graph& other) {
  if (this != &other) impl_ = std::make_unique<Impl>(*other.impl_);
  return *this;
}

Result<NodeId> Graph::add(Op op, std::vector<NodeId> operands, Attributes attributes, Origin origin,
                          std::string name, Allocator allocator) {
  std::vector<TensorType> types;
  types.reserve(operands.size());
  for (NodeId id : operands) types.push_back(node(id).type);
  auto type_of_result = [&]() -> Result<TensorType> {
    if (info(op).has(kComposite))
      return fail(Code::Unsupported,
                  "a graph does not hold composite operations; add what it decomposes into");
    attributes = PERI_TRY(complete(op, attributes, types));
    TensorType type = PERI_TRY(infer(op, types, attributes));
    if (op == Op::result) PERI_TRY(check_further_result(*this, operands[0], attributes));
    return type;
  };
  Result<TensorType> type = type_of_result();
  if (!type) return std::unexpected(describe(std::move(type).error(), *this, op, operands, origin));

  const NodeId id = impl_->nodes.push_back({op, std::move(operands), std::move(attributes), *type,
                                            std::move(origin), std::move(name), std::move(allocator)});
  const Node& added = impl_->nodes[id];
  boost::add_vertex(impl_->edges);
  for (NodeId operand : added.operands) boost::add_edge(vertex(operand), vertex(id), impl_->edges);
  if (info(op).has(kSource)) {
    auto index = [&](NodeId source) { return node(source).attributes.get<"index">(); };
    std::vector<NodeId>& sources = op == Op::input ? impl_->inputs : impl_->constants;
    const int64_t mine = added.attributes.get<"index">();
    auto at = std::upper_bound(sources.begin(), sources.end(), mine,
                               [&](int64_t i, NodeId s) { return i < index(s); });
    sources.insert(at, id);
  }
  return id;
}

std::vector<NodeId> Graph::add_further_results(NodeId id) {
  std::vector<NodeId> results = {id};
  if (info(node(id).op).results == 1) return results;
  const ResultTypes types = result_types(id);
  for (size_t i = 1; i < types.size(); ++i) {
    const Shape& shape = types[i].shape;
    const AttributesOf<Op::result> attributes{static_cast<int64_t>(i), types[i].dtype,
                                              Ints(shape.begin(), shape.end())};
    Result<NodeId> added = add(Op::result, {id}, attributes, node(id).origin);
    PERI_CHECK(added, "a result that its op has");
    results.push_back(*added);
  }
  return results;
}

ResultTypes Graph::result_types(NodeId id) const {
  const Node& of = node(id);
  std::vector<TensorType> types;
  for (NodeId operand : of.operands) types.push_back(node(operand).type);
  Result<ResultTypes> results = infer_results(of.op, types, of.attributes);
  PERI_CHECK(results, "a node's types were inferred when it was added");
  return std::move(*results);
}

Status check_further_result(const Graph& graph, NodeId operand, const Attributes& attributes) {
  const auto [index, dtype, dims] = attributes.as<Op::result>();
  const ResultTypes types = graph.result_types(operand);
  const std::string_view of = to_string(graph.node(operand).op);
  if (index < 1 || index >= static_cast<int64_t>(types.size()))
    return fail(Code::InvalidArgument, fmt::format("{} has {} result{}, and number {} is asked for", of,
                                                   types.size(), types.size() == 1 ? "" : "s", index + 1));
  const TensorType& type = types[static_cast<size_t>(index)];
  const TensorType asked{dtype, PERI_TRY(make_shape(dims))};
  if (type == asked) return {};
  return fail(Code::InvalidArgument, fmt::format("result {} of {} is {}, not {}", index + 1, of,
                                                 type.to_string(), asked.to_string()));
}

void Graph::set_outputs(std::vector<Output> outputs) {
  impl_->outputs = std::move(outputs);
}

int Graph::size() const {
  return impl_->nodes.size();
}

const Node& Graph::node(NodeId id) const {
  PERI_CHECK(impl_->nodes.contains(id), "no such node");
  return impl_->nodes[id];
}

const std::vector<Output>& Graph::outputs() const {
  return impl_->outputs;
}
std::vector<NodeId> Graph::inputs() const {
  return impl_->inputs;
}
std::vector<NodeId> Graph::constants() const {
  return impl_->constants;
}

std::vector<NodeId> Graph::users(NodeId id) const {
  PERI_CHECK(impl_->nodes.contains(id), "no such node");
  std::vector<NodeId> users;
  // Edges were added with their users, so they come in ascending order and repeated uses stand side by side.
  for (auto [edge, end] = boost::out_edges(vertex(id), impl_->edges); edge != end; ++edge) {
    const NodeId user(static_cast<int32_t>(boost::target(*edge, impl_->edges)));
    if (users.empty() || users.back() != user) users.push_back(user);
  }
  return users;
}

std::vector<NodeId> Graph::topological_order() const {
  // `add` takes operands that exist already, so the order of creation is topological and no search is needed.
  std::vector<NodeId> order;
  order.reserve(static_cast<size_t>(size()));
  for (NodeId id : impl_->nodes.ids()) order.push_back(id);
  return order;
}

std::optional<View> window_of(const Graph& graph, NodeId view, NodeId base, int rank) {
  std::vector<const Node*> views;  // the last first
  for (NodeId id = view; id != base; id = views.back()->operands[0]) {
    views.push_back(&graph.node(id));
    if (!info(views.back()->op).has(kView)) return std::nullopt;
  }
  std::optional<View> window = View::contiguous(graph.node(base).type.shape);
  for (const Node* node : std::views::reverse(views)) {
    int member = rank;
    if (const std::optional<Group> group = node->attributes.find<"group">();
        group && group->index_of(rank) < 0)
      member = group->ranks[0];
    window = view_of(node->op, node->attributes, *window, node->type.shape, member);
    if (!window) return std::nullopt;
  }
  return window;
}

bool Graph::operator==(const Graph& other) const {
  auto same = [](const Node& a, const Node& b) {
    return a.op == b.op && a.operands == b.operands && a.attributes == b.attributes && a.type == b.type &&
           a.origin == b.origin && a.name == b.name && a.allocator == b.allocator;
  };
  return impl_->outputs == other.impl_->outputs && std::ranges::equal(impl_->nodes, other.impl_->nodes, same);
}

}  // namespace peri
