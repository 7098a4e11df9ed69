// The half of check_plan that looks at one line alone: windows, types, kinds of buffers, what an algorithm
// asks of its operands.
#pragma once

#include "planner/plan.hpp"

namespace peri::planner {

// Whether it is the caller's: an input or a constant.
inline bool is_source(const Buffer& buffer) {
  return buffer.kind == BufferKind::input || buffer.kind == BufferKind::constant;
}

// The message names the rule that is broken, not the line.
Status check_line(const Plan& plan, size_t line);

// Whether the call may write output number `output` over input number `input`, in one storage: element by
// element, no later instruction reads that input, and no peer can see it.
bool may_overwrite(const Plan& plan, const KernelLine& line, size_t input, size_t output);

}  // namespace peri::planner
