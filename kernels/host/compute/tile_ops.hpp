// The inner loops of pointwise kernels: for every op of the table and every kind of register (float, int64),
// a loop over one tile made from the table's expression.
#pragma once

#include <cstdint>

#include "core/ops/op.hpp"
#include "core/types/dtype.hpp"

namespace peri::kernels::host {

// out[i] = op(in[0][i], in[1][i], in[2][i]) for `count` registers; `out` may be one of the inputs.
using TileOp = void (*)(void* out, const void* const* in, int64_t count);

// `last` is the dtype of the op's last operand. nullptr: not a pointwise op, or not defined for that dtype.
// `cast` has none, as it depends on two dtypes: see cast_tile.
TileOp tile_op(Op op, DType last);

}  // namespace peri::kernels::host
