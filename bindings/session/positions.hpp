// The ids and positions that an eager operation looks up must be there: kernels read zeros (NaN for floats)
// where they are not, and write nothing.
#pragma once

#include <optional>

#include "core/ops/attributes.hpp"
#include "core/types/shape.hpp"

namespace peri::session {

// An operand that holds positions, from 0, along a dimension of another.
struct Positions {
  size_t operand;
  size_t of;
  int dim;  // from 0
};
// Nothing if the op takes no positions. `attributes` are completed.
std::optional<Positions> positions_of(Op op, const Attributes& attributes);

// InvalidArgument that names the first of `values` that is not within [0, size). They are contiguous, in
// memory of the host, i32 or i64 as `type` says.
Status check_positions(const Positions& positions, const std::byte* values, const TensorType& type,
                       int64_t size);

}  // namespace peri::session
