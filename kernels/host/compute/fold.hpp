// The one order in which kernels accumulate: element i of a block of kBlock goes to lane i % kLanes, lanes
// are folded as a binary tree, blocks ascending. It depends on the length alone: neither layout, nor threads,
// nor vector width change a bit.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/types/scalar.hpp"

namespace peri::kernels::host {

inline constexpr int64_t kBlock = 1024;
inline constexpr int64_t kLanes = 32;

// `op` is add, mul, maximum or minimum.
template <Op op, class T>
constexpr T identity() {
  if constexpr (op == Op::add) return T(0);
  if constexpr (op == Op::mul) return T(1);
  using Limits = std::numeric_limits<T>;
  if constexpr (op == Op::maximum) return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  return Limits::has_infinity ? Limits::infinity() : Limits::max();
}

// Lanes that a block of `count` elements fills, as a power of two: folding the others in would change
// nothing.
PERI_SCALAR int64_t lanes_used(int64_t count) {
  int64_t lanes = kLanes;
  while (lanes > 1 && lanes / 2 >= count) lanes /= 2;
  return lanes;
}

// One block: count <= kBlock.
template <Op op, class T>
PERI_SCALAR T fold_block(const T* x, int64_t count) {
  T lanes[kLanes];
  for (int64_t l = 0; l < kLanes; ++l) lanes[l] = identity<op, T>();
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] = scalar::evaluate<op, T>(lanes[l], x[i + l]);
  for (int64_t l = 0; i + l < count; ++l) lanes[l] = scalar::evaluate<op, T>(lanes[l], x[i + l]);
  for (int64_t width = lanes_used(count) / 2; width > 0; width /= 2)
    for (int64_t l = 0; l < width; ++l) lanes[l] = scalar::evaluate<op, T>(lanes[l], lanes[l + width]);
  return lanes[0];
}

// Blocks are folded in double: their number is not bounded, and this costs nothing.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, T>;

// Any number of elements.
template <Op op, class T>
PERI_SCALAR Wide<T> fold(const T* x, int64_t count) {
  Wide<T> total = identity<op, Wide<T>>();
  for (int64_t i = 0; i < count; i += kBlock) {
    const int64_t left = count - i;
    total = scalar::evaluate<op, Wide<T>>(total,
                                          Wide<T>(fold_block<op, T>(x + i, left < kBlock ? left : kBlock)));
  }
  return total;
}

}  // namespace peri::kernels::host
