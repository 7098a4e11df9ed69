// What one call asks of its operands, whatever lies in memory. Shares no code with the passes.
#pragma once

#include "planner/plan.hpp"

namespace peri::planner::check {

// Every buffer that a line names, read or not.
std::vector<BufferId> buffers_of(const Line& line);

// What is wrong with the types of a call's operands; empty if nothing is.
std::string wrong_types(const Plan& plan, const KernelLine& line);
std::string wrong_types(const Plan& plan, const CollectiveLine& line);

// Whether the call may write output number `output` over input number `input`, in one storage: element by
// element, no later instruction reads that input, and no peer can see it.
bool may_overwrite(const Plan& plan, const KernelLine& line, size_t input, size_t output);

}  // namespace peri::planner::check
