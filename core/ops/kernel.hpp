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
  Op op;                                                 // pointwise, or `full` (an immediate)
  std::vector<int> operands;                             // registers
  DType dtype;                                           // of the result
  double value = 0;                                      // the immediate of `full`
  bool operator==(const FusedInstruction& other) const;  // immediates compared by `same_number`
};
struct FusedProgram {
  std::vector<DType> operand_dtypes;
  std::vector<FusedInstruction> instructions;
  std::vector<int>
      results;  // registers written to the call's outputs, in order; all outputs have the iteration shape
  bool operator==(const FusedProgram&) const = default;
  std::string to_string() const;
};

// Op::cast .. any pointwise op alone is a FusedProgram of one instruction; `fused` is used for all pointwise
// calls.
struct KernelSpec {
  Op op = Op::contiguous;  // meaningful if `fused` is empty
  Attributes attributes;   // completed
  FusedProgram fused;      // used if it has instructions
  bool is_fused() const { return !fused.instructions.empty(); }
  std::string name() const;  // "matmul", "fused_add_mul"
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
