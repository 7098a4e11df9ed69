// The compilers of the kernel families. They get calls that are checked.
#pragma once

#include <memory>
#include <span>

#include "kernels/compute/call.hpp"
#include "kernels/host/compute/kernel.hpp"

namespace peri::kernels::host {

using Addresses = std::span<std::byte* const>;
using CompiledHostKernel = Result<std::unique_ptr<Kernel>>;

#define PERI_KERNEL_FAMILY(name, ...) CompiledHostKernel compile_##name(const KernelCall& call);
#include "core/ops/families.def"

}  // namespace peri::kernels::host
