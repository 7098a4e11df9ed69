// A Graph: operations and values, functional, no memory. Append-only; deleting is building a new one. Each
// node is one value: the first result of its op. Further results of an op that has several are nodes of their
// own, of op `result`, with the first one's node as operand. Kept in a Boost adjacency_list behind the
// implementation; edges are derived from ordered operands.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/id.hpp"
#include "core/ops/attributes.hpp"
#include "core/ops/op.hpp"
#include "core/types/layout.hpp"
#include "core/types/shape.hpp"

namespace peri {

struct Node {
  Op op;
  std::vector<NodeId> operands;
  Attributes attributes;  // completed
  TensorType type;        // inferred
  Origin origin;          // the user's line
  std::string name;       // an input's or constant's name; empty otherwise
  Allocator allocator;    // of an input or constant: whether it already is symmetric
};

struct Output {
  NodeId value;
  int mutated_input =
      -1;  // >= 0: not returned, but written back to that input (by input index) when the call ends
  bool operator==(const Output&) const = default;
};

class Graph {
 public:
  Graph();
  ~Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;
  Graph(const Graph&);
  Graph& operator=(const Graph&);

  // Completes the attributes, infers the type and appends. The error carries `origin` and each operand with
  // type and origin.
  Result<NodeId> add(Op op, std::vector<NodeId> operands, Attributes attributes, Origin origin,
                     std::string name = {}, Allocator allocator = DefaultAllocator{});
  // Appends the further results of the node added last. All its results, the node itself first.
  std::vector<NodeId> add_further_results(NodeId id);
  void set_outputs(std::vector<Output> outputs);

  int size() const;
  const Node& node(NodeId id) const;
  // The types of all results of the node's op.
  ResultTypes result_types(NodeId id) const;
  const std::vector<Output>& outputs() const;
  std::vector<NodeId> inputs() const;          // `input` nodes by their index attribute
  std::vector<NodeId> constants() const;       // `constant` nodes by their index attribute
  std::vector<NodeId> users(NodeId id) const;  // ascending, each once
  // Operands before users; ties in order of creation, so the same graph always gives the same order.
  std::vector<NodeId> topological_order() const;
  bool operator==(const Graph& other) const;  // nodes, types, attributes, origins, outputs

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Whether a node of op `result` with these attributes names a result that its operand has.
Status check_further_result(const Graph& graph, NodeId operand, const Attributes& attributes);

// The world a program runs in: shard and collectives depend on it.
struct World {
  int rank = 0;
  int size = 1;
};

// The window that `view` is of `base` (as it lies in order), where `base` leads to it by view ops alone that
// all share its storage; nothing otherwise. `rank` matters to shards only; -1: any member of their groups.
std::optional<View> window_of(const Graph& graph, NodeId view, NodeId base, int rank);

// Every node's op, operand count, attributes, dtypes and inferred type agree; operands precede users; outputs
// exist.
Status verify(const Graph& graph);
// Whether the graph has nodes that no output and no effect needs; inputs and constants count as needed.
bool has_dead_code(const Graph& graph);
// A new graph without nodes that no output and no effect needs; inputs and constants stay, so indices keep
// their meaning.
Graph eliminate_dead_code(const Graph& graph);

// What the graph computes more than once: equal operations on equal values. Views, and scalars that only
// repeated operations need, are not listed.
struct Repeated {
  NodeId node;                // of the graph that computes it once
  std::vector<Origin> again;  // the lines of the others
};
struct SharedGraph {
  Graph graph;
  std::vector<Repeated> repeated;
};
// A new graph that computes each value once; nothing where no value is computed twice. Collectives, messages
// and effects stay as they are: peers may run another program, and wait for each of them.
std::optional<SharedGraph> share_common_subexpressions(const Graph& graph);

// The text form, one node a line: `%3 = matmul(%1, %2) : f32[4,8]  @ model.lua:12`. parse(print(g)) == g.
std::string print(const Graph& graph);
Result<Graph> parse(std::string_view text);
std::string print_dot(const Graph& graph);

}  // namespace peri
