// From a spec to a kernel: picks the family, and keeps what was compiled.
#include "kernels/host/kernel.hpp"

#include <fmt/format.h>

#include "kernels/host/compile.hpp"
#include "kernels/kernel_cache.hpp"

namespace peri::host {
namespace {

Compiled compile(const Call& call) {
  const Family family = PERI_TRY(family_of(call.spec));
  const KernelSpec spec = PERI_TRY(checked(call));
  const Call complete{spec, call.inputs, call.outputs};
  switch (family) {
    case Family::pointwise:
      break;
    case Family::creation:
      return compile_creation(complete);
    case Family::reduction:
      return compile_reduction(complete);
    case Family::position:
      return compile_position(complete);
    case Family::rows:
      return compile_rows(complete);
    case Family::matmul:
      return compile_matmul(complete);
    case Family::select:
      return compile_select(complete);
    case Family::index_copy:
      return compile_index_copy(complete);
    case Family::copy:
      return compile_copy(complete);
    case Family::rope:
      return compile_rope(complete);
    case Family::attention:
      return compile_attention(complete);
  }
  return compile_pointwise(complete);
}

}  // namespace

Result<std::shared_ptr<const Kernel>> compile_kernel(const KernelSpec& spec,
                                                     std::span<const OperandType> inputs,
                                                     std::span<const OperandType> outputs) {
  static KernelCache<Kernel> cache;
  return cache.find(spec, inputs, outputs, [&] { return compile({spec, inputs, outputs}); });
}

}  // namespace peri::host
