// How a collective's kernels are laid out: blocks of kThreads, few enough that all are resident at once, so
// that blocks may wait for each other and for peers.
#pragma once

#include <algorithm>

#include "kernels/cuda/collectives/launch.hpp"

namespace peri::kernels::cuda {

inline constexpr int kThreads = 512;

// The same on all members, and at most two a multiprocessor.
inline unsigned blocks_for(int64_t words, const GroupView& group) {
  const int64_t wanted = (words + kThreads - 1) / kThreads;
  return static_cast<unsigned>(std::clamp<int64_t>(wanted, 1, group.max_blocks));
}

__device__ inline int64_t first_word() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}
__device__ inline int64_t word_step() {
  return static_cast<int64_t>(gridDim.x) * kThreads;
}

__host__ __device__ inline int64_t address_in(const PartWindow& window, int64_t position) {
  if (position < window.row_bytes) return window.begin + position;
  return window.begin + position / window.row_bytes * window.row_stride + position % window.row_bytes;
}
// Whether words of `size` bytes never straddle rows of the window and lie aligned.
__host__ __device__ inline bool is_aligned(const std::byte* base, const PartWindow& window, int64_t size) {
  return (reinterpret_cast<uintptr_t>(base) + static_cast<uintptr_t>(window.begin)) % size == 0 &&
         window.row_bytes % size == 0 && window.row_stride % size == 0;
}

}  // namespace peri::kernels::cuda
