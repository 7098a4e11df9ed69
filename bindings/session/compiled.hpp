// A compiled function: one Executable per input signature, made the first time the signature is seen.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "bindings/session/session.hpp"
#include "cudagraph/executable.hpp"
#include "planner/plan.hpp"

namespace peri::session {

struct CompiledProgram {
  Graph graph;
  std::unique_ptr<cudagraph::Executable> executable;
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
};

// Plans `graph`, agrees with the other members of the group that all compile the same, and prepares it to
// run. Collective over the group. `check_positions`: each call checks what it looks up.
Result<CompiledProgram> compile(Session& session, Graph graph, std::vector<kernels::Tensor> constants,
                                const planner::Policy& policy, const Agreement& agreement,
                                bool check_positions);

}  // namespace peri::session
