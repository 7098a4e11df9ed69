// Folding an array in the order of sum_order.hpp.
#pragma once

#include "kernels/compute/sum_order.hpp"

namespace peri::kernels::host {

// One block: count <= kSumBlock.
template <Op op, class T>
PERI_SCALAR T fold_block(const T* x, int64_t count) {
  T lanes[kSumLanes];
  for (int64_t l = 0; l < kSumLanes; ++l) lanes[l] = identity<op, T>();
  int64_t i = 0;
  for (; i + kSumLanes <= count; i += kSumLanes)
    for (int64_t l = 0; l < kSumLanes; ++l) lanes[l] = scalar::evaluate<op, T>(lanes[l], x[i + l]);
  for (int64_t l = 0; i + l < count; ++l) lanes[l] = scalar::evaluate<op, T>(lanes[l], x[i + l]);
  for (int64_t width = lanes_used(count) / 2; width > 0; width /= 2)
    for (int64_t l = 0; l < width; ++l) lanes[l] = scalar::evaluate<op, T>(lanes[l], lanes[l + width]);
  return lanes[0];
}

// Any number of elements.
template <Op op, class T>
PERI_SCALAR Wide<T> fold(const T* x, int64_t count) {
  Wide<T> total = identity<op, Wide<T>>();
  for (int64_t i = 0; i < count; i += kSumBlock) {
    const int64_t left = count - i;
    total = scalar::evaluate<op, Wide<T>>(
        total, Wide<T>(fold_block<op, T>(x + i, left < kSumBlock ? left : kSumBlock)));
  }
  return total;
}

}  // namespace peri::kernels::host
