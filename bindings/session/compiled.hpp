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

// Plans `graph`, agrees with the other members of `agreement` that all compile the same, and prepares it to
// run. Collective over `agreement`.
Result<CompiledProgram> compile(Session& session, Graph graph, std::vector<kernels::Tensor> constants,
                                const planner::Policy& policy, const Group& agreement);

}  // namespace peri::session
