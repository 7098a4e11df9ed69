// A compiled function: one Executable per input signature, made the first time the signature is seen.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bindings/session/session.hpp"
#include "cudagraph/executable.hpp"
#include "planner/plan.hpp"

namespace peri::session {

// What the members of a group agree on before each prepares it.
struct AgreedPlan {
  Graph graph;
  planner::Plan plan;
  // The same on all members, and no other plan's.
  uint64_t number = 0;
  // Of the plan that the function drops on all members; 0: none.
  uint64_t dropped = 0;
  // It communicates with ranks outside of the group. So it is never dropped: these do not know of it.
  bool reaches_others = false;
  bool check_positions = false;
  std::chrono::steady_clock::time_point start;
};

struct CompiledProgram {
  Graph graph;
  std::unique_ptr<cudagraph::Executable> executable;
  // As in AgreedPlan.
  uint64_t number = 0;
  bool reaches_others = false;
  double compile_ms = 0;
  std::map<std::string, double> statistics() const;
  std::string explain() const;
};

// Who must compile the same.
struct Agreement {
  Group group;
  // Behind the name of what the ranks do, where errors of waiting ranks show it: why it is compiled again.
  std::string reason;
  // What the function captures, a line each, to explain why programs differ.
  std::string captured;
  // The number of the plan that this rank would drop; 0: none. The members may have used their plans in
  // different orders, so what the group's first member says is done.
  uint64_t to_drop = 0;
};

// Plans `graph`, and agrees with the other members of the group that all compile the same. Collective over
// the group. `check_positions`: each call checks what it looks up.
Result<AgreedPlan> agree_on_plan(Session& session, Graph graph, const planner::Policy& policy,
                                 const Agreement& agreement, bool check_positions);
// Makes it ready to run. Collective over the groups of its comm buffers.
Result<CompiledProgram> prepare(Session& session, AgreedPlan agreed, std::vector<kernels::Tensor> constants);

}  // namespace peri::session
