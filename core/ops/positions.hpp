// Which operand of an op holds ids or positions, and whether they are within the dimension that they index.
// Kernels read zeros (NaN for floats) where they are not, and write nothing. Eager operations check them
// always, compiled functions if they are asked to.
#pragma once

#include <optional>

#include "core/error.hpp"
#include "core/ops/attributes.hpp"
#include "core/types/shape.hpp"

namespace peri {

// An operand that holds positions, from 0, along a dimension of another.
struct Positions {
  size_t operand;
  size_t of;
  int dim;  // from 0
};
// Nothing if the op takes no positions. `attributes` are completed; `operands`: how many there are.
std::optional<Positions> positions_of(Op op, const Attributes& attributes, size_t operands);

// InvalidArgument that names the first of `values` that is not within [0, size). They are contiguous, in
// memory of the host, i32 or i64 as `type` says.
Status check_positions(const Positions& positions, const std::byte* values, const TensorType& type,
                       int64_t size);

}  // namespace peri
