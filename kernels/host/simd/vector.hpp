// Sixteen floats as one value, for loops whose accumulators must stay in registers. The compiler lowers it to
// whatever the target has; every lane does the same IEEE operations everywhere.
#pragma once

#include "core/types/scalar_float.hpp"

namespace peri::kernels::host {

typedef float Vector [[gnu::vector_size(64), gnu::aligned(4), gnu::may_alias]];
inline constexpr int64_t kVectorWidth = 16;

// Functions take addresses, as passing vectors by value depends on the target.
PERI_SCALAR const Vector& vector_at(const float* x) {
  return *reinterpret_cast<const Vector*>(x);
}
PERI_SCALAR Vector& vector_at(float* x) {
  return *reinterpret_cast<Vector*>(x);
}

// The sum of the lanes: halves are added to halves.
PERI_SCALAR float sum_of_lanes(const Vector& x) {
  typedef float Half [[gnu::vector_size(32)]];
  typedef float Quarter [[gnu::vector_size(16)]];
  const Half half = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
                    __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
  const Quarter quarter =
      __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
  return (quarter[0] + quarter[2]) + (quarter[1] + quarter[3]);
}

}  // namespace peri::kernels::host
