// A kernel call as every backend compiles it, and what it is checked for first: the op table's own rules, so
// that the compilers of the kernel families decide only how to compute.
#pragma once

#include <span>

#include "core/error.hpp"
#include "core/ops/attributes_of.hpp"
#include "core/ops/families.hpp"
#include "core/ops/kernel.hpp"

namespace peri::kernels {

struct KernelCall {
  const KernelSpec& spec;
  std::span<const OperandType> inputs, outputs;

  const View& in(size_t i) const { return inputs[i].view; }
  const View& out() const { return outputs[0].view; }
  DType dtype() const { return outputs[0].dtype; }
};

// The family whose compiler gets this spec: a kernel family. InvalidArgument for a view, a collective, a
// source, a composite, and a pointwise op that is not in a fused program.
Result<Family> family_of(const KernelSpec& spec);

// The spec with its attributes completed. Errors: what contradicts itself or the op's rule.
Result<KernelSpec> checked(const KernelCall& call);

// What a lookup of a position that does not exist gives: the bits of a quiet NaN (floats) or of zero, in the
// lowest `size_of(dtype)` bytes.
constexpr uint64_t missing_value(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 0x7FC00000u;
    case DType::f16:
      return 0x7E00u;
    case DType::bf16:
      return 0x7FC0u;
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
      return 0;
  }
  return 0;
}

}  // namespace peri::kernels
