// The one order in which kernels accumulate, that of kernels/host/compute/fold.hpp: element i of a block of
// kBlock goes to lane i % 32, lanes are folded as a binary tree, blocks ascending. A warp folds a block;
// neither the launch nor the layout changes a bit, and the host backend gives the same ones.
#pragma once

#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

constexpr int kBlock = 1024;
constexpr int kLanes = 32;
constexpr uint32_t kAllLanes = ~0u;

template <Op op, class T>
constexpr T identity() {
  if constexpr (op == Op::add) return T(0);
  if constexpr (op == Op::mul) return T(1);
  using Limits = std::numeric_limits<T>;
  if constexpr (Limits::has_infinity)
    return op == Op::maximum ? -Limits::infinity() : Limits::infinity();
  else
    return op == Op::maximum ? Limits::lowest() : Limits::max();
}

// Blocks are folded in double: their number is not bounded.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, T>;

template <Op op, class T>
T combine(T x, T y) {
  if constexpr (std::is_same_v<T, double>) {
    if constexpr (op == Op::add) return x + y;
    if constexpr (op == Op::mul) return x * y;
    if constexpr (op == Op::maximum) return scalar::maximum(x, y);
    return scalar::minimum(x, y);
  } else {
    return scalar::evaluate<op, T>(x, y);
  }
}

// The lanes' accumulators of a block of `count` elements as a tree: lane 0 has the result. Folding the lanes
// in that have no element would change nothing, but the sign of a zero.
template <Op op, class T>
T fold_lanes(T sum, int count) {
  int lanes = kLanes;
  while (lanes > 1 && lanes / 2 >= count) lanes /= 2;
  for (int width = kLanes / 2; width > 0; width /= 2) {
    const T other = __shfl_down_sync(kAllLanes, sum, width);
    if (width < lanes) sum = combine<op, T>(sum, other);
  }
  return sum;
}

// One block of `count` elements by a warp: get(i) is called for the lane's elements. Lane 0 has the result.
template <Op op, class T, class Get>
T fold_block(int count, Get get) {
  const int lane = threadIdx.x % kLanes;
  T sum = identity<op, T>();
  if (count == kBlock) {
#pragma unroll 8
    for (int i = 0; i < kBlock; i += kLanes) sum = combine<op, T>(sum, get(i + lane));
  } else {
    for (int i = lane; i < count; i += kLanes) sum = combine<op, T>(sum, get(i));
  }
  return fold_lanes<op, T>(sum, count);
}

}  // namespace peri::kernels::cuda
