// The passes, in the order in which pipeline.cpp runs them. From `lower` on the program is a Plan whose
// buffers are virtual: each is written by exactly one line and has no storage until `memory` gives it one.
#pragma once

#include <vector>

#include "planner/plan.hpp"

namespace peri::planner {

// What carries out each collective, by node: null for other ops, and for a group of one rank, where nothing
// is to be done.
struct Selection {
  std::vector<const AlgorithmInfo*> algorithm;
  std::vector<Decision> decisions;
};

Result<Selection> select_algorithms(const Graph& graph, const Policy& policy);
Result<Plan> lower(const Graph& graph, Selection selection, const World& world, const Policy& policy);
Plan fuse(Plan plan);
Plan realize(Plan plan);
Plan write_in_place(Plan plan);
Plan plan_memory(Plan plan);

// What a choosing function of the policy sees of one node.
OpContext op_context(const Graph& graph, NodeId id, const Policy& policy);
// "all_reduce at model.lua:12".
std::string decision_subject(Op op, const Origin& origin);

}  // namespace peri::planner
