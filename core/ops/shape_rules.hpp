// What shape rules share. A function per rule, declared from the table: an op without its rule does not link.
#pragma once

#include "core/ops/attributes_of.hpp"
#include "core/ops/op.hpp"

namespace peri::shape_rules {

// The operands of one call, already checked for count, place and dtype, and its completed attributes.
struct RuleCall {
  Op op;
  std::span<const TensorType> operands;
  const Attributes& attributes;

  const TensorType& type(size_t i) const { return operands[i]; }
  const Shape& shape(size_t i) const { return operands[i].shape; }
};

using Rule = Result<ResultTypes> (*)(const RuleCall&);

#define PERI_OP(name, family, min_operands, max_operands, attributes, dtypes, rule, ...) \
  Result<ResultTypes> rule(const RuleCall& call);
#include "core/ops/ops.def"

Status check_count(const OpInfo& row, size_t operand_count);
// i32 or i64, for operand `i`.
Status check_index_dtype(const RuleCall& call, size_t i);
Status check_rank(const RuleCall& call, size_t i, int rank);
// "dim 2 of b is 7, expected 8 (dim 1 of a)"; dims 0-based here.
Status check_same_size(const RuleCall& call, size_t i, int dim, size_t expected_i, int expected_dim);
// A number that becomes an element.
Status check_number(DType dtype, double value);
// An attribute of a convolution, of its `count` spatial dimensions: as many numbers, or one for all, or none.
Result<Ints> per_dimension(const char* name, const Ints& given, int count, int64_t fallback, int64_t least);
Status check_equal_dtypes(std::span<const TensorType> operands, size_t first);

}  // namespace peri::shape_rules
