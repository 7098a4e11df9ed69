// Runs plans of all ranks in lock step over plain memory, each call by the reference interpreter: what a plan
// means, told by code that shares nothing with the planner. A plan's result must equal its program's bit for
// bit.
#pragma once

#include "core/interpreter/interpreter.hpp"
#include "planner/plan.hpp"

namespace peri::test {

struct RunResult {
  std::vector<std::vector<Value>> returned;   // [rank][i], without mutated inputs
  std::vector<std::map<int, Value>> mutated;  // [rank][input]
};

// `plans[r]` is rank r's; all have the same lines (agreement_text). Memory is filled with garbage first.
Result<RunResult> run_plans(std::span<const planner::Plan> plans, std::span<const Arguments> arguments);

}  // namespace peri::test
