// What one kernel call computes, in words that planner and kernels share: an op with attributes, or a fused
// pointwise program.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/ops/op.hpp"
#include "core/types/layout.hpp"
#include "core/types/shape.hpp"

namespace peri {

// A straight pointwise program over one iteration space (the output's shape). Registers are numbered: first
// the operands (inputs of the call, broadcast by stride 0), then one per instruction. Every instruction's
// value is rounded to its dtype, so that fusing changes no bit.
struct FusedInstruction {
  // Pointwise, or `full`: an immediate.
  Op op;
  // Registers.
  std::vector<int> operands;
  // Of the result.
  DType dtype;
  // The immediate of `full`.
  double value = 0;
  // Compares immediates by `same_number`.
  bool operator==(const FusedInstruction& other) const;
};
struct FusedProgram {
  std::vector<DType> operand_dtypes;
  std::vector<FusedInstruction> instructions;
  // The registers that are written to the call's outputs, in order. All outputs have the iteration shape.
  std::vector<int> results;
  bool operator==(const FusedProgram&) const = default;
  std::string to_string() const;
};
// The dtypes of a program's results. Errors: a register that is not made yet, an instruction that is not
// pointwise, a dtype that its op does not make.
Result<std::vector<DType>> infer(const FusedProgram& program);

// One kernel call. A pointwise call is always a fused program, of one instruction or more; any other is an
// op.
struct KernelSpec {
  // Ignored if `fused` has instructions.
  Op op = Op::contiguous;
  // Completed.
  Attributes attributes;
  FusedProgram fused;
  bool is_fused() const { return !fused.instructions.empty(); }
  // "matmul", "fused_add_mul".
  std::string name() const;
  bool operator==(const KernelSpec&) const = default;
};

// An operand as a kernel sees its type: dtype and window; memory comes at launch. Inputs may have any strides
// (0 included); outputs do not overlap themselves.
struct OperandType {
  DType dtype = DType::f32;
  View view;
  bool operator==(const OperandType&) const = default;
};

}  // namespace peri
