// The check after every pass: cheap, and only there to name the pass that broke the plan. check_plan proves
// the result.
#pragma once

#include "planner/plan.hpp"

namespace peri::planner {

// Whether buffers are virtual (until `memory` has run) or lie in storage that the plan's lines give.
enum class Buffers : uint8_t { virtual_only, stored };

// PlanInvalid, "pass fuse: line 12 reads v3 before anything wrote it", if a line reads a value that the lines
// before it have not made or have overwritten, makes one twice, names a buffer that is not in the table,
// reaches outside one, or writes one without storage.
Status check_stage(const Plan& plan, const std::string& pass, Buffers buffers);

}  // namespace peri::planner
