// When a kernel may write its output over one of its inputs: shared by the reuse of dead buffers and by
// writes to inputs.
#pragma once

#include "planner/plan.hpp"

namespace peri::planner {

// Whether `line` stays correct if `output` lies in the memory of `input`, both of one type. Fused calls:
// every read of `input` that does not lie apart from the output is element by element, in the output's order,
// and no instruction after the one that makes the output reads it, so a kernel may store each result as soon
// as it has it. index_copy and other scatters: the input is the tensor written into (and what else is read of
// it lies apart).
bool may_work_in_place(const KernelLine& line, BufferId input, BufferId output);

}  // namespace peri::planner
