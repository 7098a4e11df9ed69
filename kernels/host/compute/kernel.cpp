// From a spec to a kernel: picks the family, and keeps what was compiled.
#include "kernels/host/compute/kernel.hpp"

#include "kernels/compute/kernel_cache.hpp"
#include "kernels/host/compute/compile.hpp"

namespace peri::kernels::host {
namespace {

CompiledHostKernel compile(const KernelCall& call) {
  const Family family = PERI_TRY(family_of(call.spec));
  const KernelSpec spec = PERI_TRY(checked(call));
  const KernelCall complete{spec, call.inputs, call.outputs};
  switch (family) {
#define PERI_KERNEL_FAMILY(name, ...) \
  case Family::name:                  \
    return compile_##name(complete);
#define PERI_FAMILY(name, ...) \
  case Family::name:           \
    break;
#include "core/ops/families.def"
  }
  PERI_CHECK(false, "not a family of kernels");
}

}  // namespace

Result<std::shared_ptr<const Kernel>> compile_kernel(const KernelSpec& spec,
                                                     std::span<const OperandType> inputs,
                                                     std::span<const OperandType> outputs) {
  static KernelCache<Kernel> cache;
  return cache.find(spec, inputs, outputs, [&] { return compile({spec, inputs, outputs}); });
}

}  // namespace peri::kernels::host
