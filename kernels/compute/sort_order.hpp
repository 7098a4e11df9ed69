// The order of sort and topk, as keys that compare as unsigned numbers: NaN is the largest, -0 equals 0. The
// same for the host's kernels and for device code.
#pragma once

#include "core/types/scalar.hpp"

namespace peri::kernels {

PERI_SCALAR uint32_t order_key(float x) {
  if (x != x) return 0xFFFFFFFFu;
  const uint32_t bits = scalar::bits(x == 0 ? 0.0f : x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

PERI_SCALAR uint64_t order_key(int64_t x) {
  return static_cast<uint64_t>(x) ^ 0x8000000000000000u;
}

}  // namespace peri::kernels
