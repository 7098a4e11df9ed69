// One step of a program as plain data: what a backend is shown of a partition before it runs it as a whole
// (Backend::prepare). The memory of the operands is the caller's.
#pragma once

#include <span>
#include <variant>
#include <vector>

#include "core/error.hpp"
#include "core/ops/collective.hpp"
#include "core/ops/kernel.hpp"
#include "core/overloaded.hpp"
#include "kernels/tensor.hpp"

namespace peri::kernels {

struct KernelStep {
  KernelSpec spec;
  std::vector<Operand> inputs, outputs;
  Origin origin;
};
struct CollectiveStep {
  CollectiveSpec spec;
  std::vector<Operand> inputs, outputs;
};
struct CopyStep {
  Operand from, to;
  Origin origin;
};
using ProgramStep = std::variant<KernelStep, CollectiveStep, CopyStep>;

// The user's line that asked for it.
inline const Origin& origin_of(const ProgramStep& step) {
  return std::visit(Overloaded{[](const KernelStep& s) -> const Origin& { return s.origin; },
                               [](const CollectiveStep& s) -> const Origin& { return s.spec.origin; },
                               [](const CopyStep& s) -> const Origin& { return s.origin; }},
                    step);
}

}  // namespace peri::kernels
