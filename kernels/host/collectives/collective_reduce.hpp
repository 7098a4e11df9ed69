// The arithmetic of collectives: members' arrays folded into one in the order of the group. Separate because
// all algorithms, whatever they read from where, go through it: so that they give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/ops/op.hpp"
#include "core/types/dtype.hpp"

namespace peri::kernels::host {

// out[i] = sources[0][i] o sources[1][i] o ...: floats accumulated in f32 and rounded once, integers
// wrapping; avg divides the sum by `members` before it is rounded. `out` may be one of the sources.
using ReduceArrays = void (*)(std::byte* out, const std::byte* const* sources, int members, int64_t count);
// nullptr for bool, and for avg of integers.
ReduceArrays reduce_arrays(DType dtype, Reduce reduce);

}  // namespace peri::kernels::host
