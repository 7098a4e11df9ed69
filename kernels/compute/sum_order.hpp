// The one order in which the kernels of every backend accumulate: element i of a block of kSumBlock goes to
// lane i % kSumLanes, lanes are folded as a binary tree, blocks ascending. It depends on the length alone:
// neither layout, nor threads, nor vector width, nor backend change a bit. Host code and device code read
// this file.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/types/scalar.hpp"

namespace peri::kernels {

inline constexpr int64_t kSumBlock = 1024;
inline constexpr int64_t kSumLanes = 32;

// `op` is add, mul, maximum or minimum.
template <Op op, class T>
constexpr T identity() {
  if constexpr (op == Op::add) return T(0);
  if constexpr (op == Op::mul) return T(1);
  static_assert(op == Op::add || op == Op::mul || op == Op::maximum || op == Op::minimum);
  using Limits = std::numeric_limits<T>;
  if constexpr (Limits::has_infinity)
    return op == Op::maximum ? -Limits::infinity() : Limits::infinity();
  else
    return op == Op::maximum ? Limits::lowest() : Limits::max();
}

// Lanes that a block of `count` elements fills, as a power of two: folding the others in would change
// nothing, but the sign of a zero.
PERI_SCALAR constexpr int64_t lanes_used(int64_t count) {
  int64_t lanes = kSumLanes;
  while (lanes > 1 && lanes / 2 >= count) lanes /= 2;
  return lanes;
}

// Blocks are folded in double: their number is not bounded, and this costs nothing.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, T>;

// What becomes of a total: itself, or the mean of so many elements.
enum class Finish : uint8_t { total, mean };
template <class W>
PERI_SCALAR constexpr W finished(Finish finish, W total, int64_t length) {
  switch (finish) {
    case Finish::total:
      return total;
    case Finish::mean:
      return total / static_cast<W>(length);
  }
  return total;
}

}  // namespace peri::kernels
