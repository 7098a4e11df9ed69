// From a spec to a kernel: picks the family, and keeps what was compiled.
#include "kernels/host/kernel.hpp"

#include <fmt/format.h>

#include "kernels/host/compile.hpp"
#include "kernels/kernel_cache.hpp"

namespace peri::host {
namespace {

// The compiler of each op that is not pointwise; nullptr: not a compute kernel (views, collectives, sources,
// composites).
Compiled (*family(Op op))(const Call&) {
  switch (op) {
    case Op::full:
    case Op::arange:
    case Op::rand:
    case Op::randn:
      return compile_creation;
    case Op::sum:
    case Op::mean:
    case Op::prod:
    case Op::max:
    case Op::min:
      return compile_reduction;
    case Op::argmax:
    case Op::argmin:
      return compile_position;
    case Op::softmax:
    case Op::rms_norm:
    case Op::layer_norm:
      return compile_rows;
    case Op::matmul:
      return compile_matmul;
    case Op::embedding:
    case Op::index_select:
      return compile_select;
    case Op::index_copy:
      return compile_index_copy;
    case Op::contiguous:
    case Op::cat:
      return compile_copy;
    case Op::rope:
      return compile_rope;
    case Op::attention:
      return compile_attention;
#define PERI_POINTWISE(name, ...) case Op::name:
#define PERI_OP(...)
#include "core/ops.def"
      return nullptr;  // reaches the kernels as a fused program
    case Op::input:
    case Op::constant:
    case Op::linear:
    case Op::reshape:
    case Op::permute:
    case Op::slice:
    case Op::expand:
    case Op::shard:
    case Op::transpose:
    case Op::stack:
    case Op::copy_to:
    case Op::all_reduce:
    case Op::all_gather:
    case Op::reduce_scatter:
    case Op::all_to_all:
    case Op::broadcast:
    case Op::send:
    case Op::recv:
    case Op::barrier:
      return nullptr;
  }
  return nullptr;
}

Compiled compile(const Call& call) {
  auto* compile_op = call.spec.is_fused() ? compile_pointwise : family(call.spec.op);
  if (!compile_op)
    return fail(Code::InvalidArgument, fmt::format("{} is not a compute kernel", to_string(call.spec.op)));
  const KernelSpec spec = PERI_TRY(checked(call));
  return compile_op({spec, call.inputs, call.outputs});
}

}  // namespace

Result<std::shared_ptr<const Kernel>> compile_kernel(const KernelSpec& spec,
                                                     std::span<const OperandType> inputs,
                                                     std::span<const OperandType> outputs) {
  static KernelCache<Kernel> cache;
  return cache.find(spec, inputs, outputs, [&] { return compile({spec, inputs, outputs}); });
}

}  // namespace peri::host
