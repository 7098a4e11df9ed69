// The random numbers of `rand` and `randn`: functions of (seed, element) alone, so that every rank, backend,
// tiling and thread count gives the same bits. Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random
// numbers: as easy as 1, 2, 3, SC 2011).
//
// Element e takes word e % 4 of the block whose counter is {low half of e / 4, high half of e / 4, stream, 0}
// and whose key is {low half of seed, high half of seed}; stream is 0 for uniform and 1 for normal.
//   uniform: the word's upper 24 bits times 2^-24.
//   normal:  words 2i and 2i + 1 of a block make elements 2i and 2i + 1 (Box-Muller): with u = (upper 24 bits
//   of the first + 1)
//            * 2^-24 in (0, 1] and v = upper 24 bits of the second * 2^-24, r cos(2 pi v) and r sin(2 pi v),
//            r = sqrt(-2 log u).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/types/dtype.hpp"

namespace peri {

using PhiloxBlock = std::array<uint32_t, 4>;
PhiloxBlock philox(PhiloxBlock counter, std::array<uint32_t, 2> key);

// Elements first, first + 1, ... of the uniform numbers in [0, 1) of a tensor of dtype f32, bf16 or f16. The
// last two keep only as many leading bits as they can hold (8, 11), so that rounding to the dtype is exact
// and never reaches 1.
void fill_uniform(uint64_t seed, uint64_t first, DType dtype, std::span<float> out);
// The same of the standard normal numbers, in f32: the caller rounds to its dtype. At most 5.8 in magnitude.
void fill_normal(uint64_t seed, uint64_t first, std::span<float> out);

}  // namespace peri
