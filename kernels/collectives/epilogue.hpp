// A collective with an epilogue, carried out as the collective and then kernels on what it made. Shared, so
// that all backends without a kernel for both do the same, and give the same bits as the calls apart.
#pragma once

#include <span>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/step.hpp"

namespace peri::kernels {

// The calls that the step stands for, in order: itself, if it has no epilogue. Refuses operands of other
// types than the epilogue asks for.
Result<std::vector<ProgramStep>> without_epilogue(const CollectiveStep& step);

// The same calls, at once.
Status run_with_epilogue(Backend& backend, const CollectiveSpec& spec, std::span<const Operand> inputs,
                         std::span<const Operand> outputs);

}  // namespace peri::kernels
