// The passes, in the order in which pipeline.cpp runs them. From `lower` on the program is a Plan whose
// buffers are virtual: each is written by exactly one line and has no storage until `memory` gives it one.
#pragma once

#include <vector>

#include "planner/plan.hpp"

namespace peri::planner {

// What carries out each collective: null for other ops, and for a group of one rank, where nothing is to be
// done.
struct Selection {
  Store<NodeId, const AlgorithmInfo*> algorithm;
  std::vector<Decision> decisions;
};

// What the policy says of one program. All its functions have been asked: from here on this is data.
struct Choices {
  // As in Selection.
  Store<NodeId, const AlgorithmInfo*> algorithm;
  // Whether the node's lines may be captured.
  Store<NodeId, bool> captured;
  Lowering lowering;
  bool capture;
  std::vector<Decision> decisions;
};

Result<Selection> select_algorithms(const Graph& graph, const Policy& policy);
Result<Choices> resolve(const Graph& graph, Selection selection, const Policy& policy);
Result<Plan> lower(const Graph& graph, Choices choices, const World& world);
Plan fuse(Plan plan);
Plan fuse_epilogues(Plan plan);
Plan realize(Plan plan);
Plan write_in_place(Plan plan);
Plan plan_memory(Plan plan, Planning planning);

// What a choosing function of the policy sees of one node.
OpContext op_context(const Graph& graph, NodeId id, const Policy& policy);
// "all_reduce at model.lua:12".
std::string decision_subject(Op op, const Origin& origin);

}  // namespace peri::planner
