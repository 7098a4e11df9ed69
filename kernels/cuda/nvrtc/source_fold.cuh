// Folding by a warp, in the order of sum_order.hpp: a warp folds a block. Neither the launch nor the layout
// changes a bit, and the host backend gives the same ones.
#pragma once

#include "kernels/compute/sum_order.hpp"
#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

using kernels::Finish;  // generated text names it

constexpr int kBlock = kSumBlock;
constexpr int kLanes = kSumLanes;  // a warp's
constexpr uint32_t kAllLanes = ~0u;
static_assert(kLanes == 32);

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
  const auto lanes = static_cast<int>(lanes_used(count));
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
