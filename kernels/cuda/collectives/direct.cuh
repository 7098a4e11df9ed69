// What the kernels on symmetric memory have in common, through members' mappings and through multicast: how
// their blocks meet, which words a thread moves, and how parts are cut.
//
// Threads: thread t of the grid takes words t, t + T, ... of 16 bytes of every part. All ranks launch the
// same grid, so a word is handled by the same block everywhere, and a block meets only the same block of
// others. Memory order: what the kernels before wrote, and what the block's threads wrote before its barrier,
// is published by the release of `arrive`. An end barrier says that the block reads nobody's memory any more.
#pragma once

#include "kernels/cuda/collectives/words.cuh"
#include "kernels/cuda/symmetric/wait.cuh"

namespace peri::kernels::cuda {

// Phases of one call, each with a signature of its own.
enum Phase : uint32_t { kStart, kMiddle, kEnd };

inline constexpr int64_t kWord = sizeof(uint4);

// A barrier with the same block of all members; false if one of them does not arrive.
__device__ inline bool group_barrier(const CollectiveArguments& a, uint32_t epoch, Phase phase) {
  if (phase != kStart) __syncthreads();
  const int m = threadIdx.x;
  bool arrived = true;
  if (m < a.group.members && m != a.group.me) {
    arrive(a.group, m, epoch, a.signature + phase);
    arrived = await_member(a.group, a.watch, m, epoch, a.signature + phase, a.operation);
  }
  return __syncthreads_and(arrived);
}

__host__ __device__ inline int64_t words_of(int64_t length) {
  return (length + kWord - 1) / kWord;
}

// Calls store(i, word) with the thread's words i of `length` bytes from position `at` of all members'
// symmetric operands, folded in the order of the group. kMembers and kPlain: as in collective_push.cu.
template <Element element, int kMembers, bool kPlain, class Store>
__device__ void reduce_words(const CollectiveArguments& a, int64_t at, int64_t length, Store store) {
  constexpr int kCap = kMembers > 0 ? kMembers : kMaxMembers;
  const int members = kMembers > 0 ? kMembers : a.group.members;
  const int64_t step = word_step();
  for_each_word<kPlain ? 8 / kCap : 1>(words_of(length), [&]<int n>(int64_t i) {
    uint4 words[kCap][n];
#pragma unroll
    for (int k = 0; k < n; ++k)
#pragma unroll
      for (int m = 0; m < kCap; ++m)
        if (m < members) {
          const int64_t offset = (i + k * step) * kWord;
          words[m][k] = load_word<element, uint4, kPlain>(
              PartMemory::of<uint4>(a.symmetric[m], a.from[a.group.me]), at + offset, length - offset);
        }
#pragma unroll
    for (int k = 0; k < n; ++k) {
      Accumulator<element, uint4, kPlain> sum;
      sum.begin(words[0][k]);
#pragma unroll
      for (int m = 1; m < kCap; ++m)
        if (m < members) sum.add(a.reduction, words[m][k]);
      store(i + k * step, sum.result(a.reduction, members));
    }
  });
}

// The thread's words of `length` bytes from a position on.
template <Element element, bool kPlain>
__device__ void copy_words(const PartMemory& to, const PartMemory& from, int64_t at, int64_t length) {
  const int64_t step = word_step();
  for_each_word<kPlain ? 4 : 1>(words_of(length), [&]<int n>(int64_t i) {
    uint4 words[n];
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const int64_t offset = (i + k * step) * kWord;
      words[k] = load_word<element, uint4, kPlain>(from, at + offset, length - offset);
    }
#pragma unroll
    for (int k = 0; k < n; ++k) {
      const int64_t offset = (i + k * step) * kWord;
      store_word<element, uint4, kPlain>(to, at + offset, length - offset, words[k]);
    }
  });
}

// Parts are whole cache lines, so that no line is written by two.
__device__ inline int64_t part_begin(const CollectiveArguments& a, int member) {
  const int64_t even = (a.length + a.group.members - 1) / a.group.members;
  return min(member * ((even + 127) / 128 * 128), a.length);
}

}  // namespace peri::kernels::cuda
