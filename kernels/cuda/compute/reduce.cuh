// Reductions over any dimensions, in the order of source_fold.cuh: first every block of every result is
// folded, by rows (a block's elements lie side by side: a warp per block) or by columns (neighbouring results
// do: a lane per result), then each result's blocks: block b goes to lane b % 256, lanes are folded as a
// binary tree, in double. No result depends on the launch.
#pragma once

#include "kernels/cuda/nvrtc/source_fold.cuh"

namespace peri::kernels::cuda {

constexpr int kWarps = 8;  // per thread block

template <int kept_rank, int reduced_rank>
struct Reduction {
  Space<2, kept_rank> kept;        // operands out, in
  Space<1, reduced_rank> reduced;  // operand in
  int64_t blocks;                  // of each result
};

template <class In, class Out, Op op, Finish finish>
struct Reducer {
  using T = Register<In>;

  static T element(const byte* in, int64_t base, const auto& reduced, int64_t i) {
    int64_t offset[1];
    reduced.locate(i, offset);
    return load<In>(in, base + offset[0]);
  }
  static void put_total(byte* out, int64_t offset, Wide<T> total, int64_t length) {
    store<Out>(out, offset, static_cast<T>(finished(finish, total, length)));
  }
  // One block's result: the whole result if there is no other block.
  static void put(byte* out, byte* partials, T sum, int64_t result, int64_t block, int64_t offset,
                  const auto& r) {
    if (r.blocks == 1)
      put_total(out, offset, combine<op, Wide<T>>(identity<op, Wide<T>>(), sum), r.reduced.total);
    else
      reinterpret_cast<T*>(partials)[result * r.blocks + block] = sum;
  }
  static int block_size(const auto& r, int64_t block) {
    const int64_t left = r.reduced.total - block * kBlock;
    return left < kBlock ? static_cast<int>(left) : kBlock;
  }

  // A warp per (result, block).
  static void rows(const byte* in, byte* out, byte* partials, const auto& r) {
    const int64_t task = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kLanes;
    if (task >= r.kept.total * r.blocks) return;
    const int64_t result = task / r.blocks, block = task % r.blocks;
    int64_t at[2];
    r.kept.locate(result, at);
    const T sum = fold_block<op, T>(block_size(r, block),
                                    [&](int i) { return element(in, at[1], r.reduced, block * kBlock + i); });
    if (threadIdx.x % kLanes == 0) put(out, partials, sum, result, block, at[0], r);
  }

  // A lane per (result, block), 32 results to a thread block; each of its 8 warps takes 4 of the block's 32
  // accumulators.
  static void columns(const byte* in, byte* out, byte* partials, const auto& r) {
    constexpr int kOwn = kLanes / kWarps;
    __shared__ T sums[kLanes][kLanes];
    const int lane = threadIdx.x % kLanes, warp = threadIdx.x / kLanes;
    const int64_t result = static_cast<int64_t>(blockIdx.x) / r.blocks * kLanes + lane;
    const int64_t block = static_cast<int64_t>(blockIdx.x) % r.blocks;
    const int count = block_size(r, block);
    int64_t at[2] = {};
    T own[kOwn];
    for (int q = 0; q < kOwn; ++q) own[q] = identity<op, T>();
    if (result < r.kept.total) {
      r.kept.locate(result, at);
#pragma unroll 4
      for (int i = warp * kOwn; i < count; i += kLanes)
#pragma unroll
        for (int q = 0; q < kOwn; ++q)
          if (i + q < count)
            own[q] = combine<op, T>(own[q], element(in, at[1], r.reduced, block * kBlock + i + q));
    }
    for (int q = 0; q < kOwn; ++q) sums[warp * kOwn + q][lane] = own[q];
    __syncthreads();
    if (warp > 0 || result >= r.kept.total) return;
    const auto lanes = static_cast<int>(lanes_used(count));
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int l = 0; l < width; ++l) sums[l][lane] = combine<op, T>(sums[l][lane], sums[l + width][lane]);
    put(out, partials, sums[0][lane], result, block, at[0], r);
  }

  // A thread block per result.
  static void blocks(byte* out, const byte* partials, const auto& r) {
    using W = Wide<T>;
    constexpr int kThreads = kWarps * kLanes;
    __shared__ W lanes[kThreads];
    const int64_t result = blockIdx.x;
    W sum = identity<op, W>();
    for (int64_t b = threadIdx.x; b < r.blocks; b += kThreads)
      sum = combine<op, W>(sum, reinterpret_cast<const T*>(partials)[result * r.blocks + b]);
    lanes[threadIdx.x] = sum;
    for (int width = kThreads / 2; width > 0; width /= 2) {
      __syncthreads();
      if (threadIdx.x < width)
        lanes[threadIdx.x] = combine<op, W>(lanes[threadIdx.x], lanes[threadIdx.x + width]);
    }
    if (threadIdx.x > 0) return;
    int64_t at[2];
    r.kept.locate(result, at);
    put_total(out, at[0], lanes[0], r.reduced.total);
  }
};

// argmax, argmin: the first position of the best value along one dimension; a NaN beats every number.
template <int rank>
struct ArgReduction {
  Space<2, rank> kept;  // operands out, in
  int64_t length, stride;
};

template <class In, Op comparison>
struct Finder {
  using T = Register<In>;
  struct Best {
    T value;
    int64_t at;  // -1: none yet
  };
  static bool beats(const Best& a, const Best& b) {
    if (a.at < 0 || b.at < 0) return b.at < 0;
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan || b_nan) return a_nan && (!b_nan || a.at < b.at);
    if (a.value == b.value) return a.at < b.at;
    return scalar::evaluate<comparison, T>(a.value, b.value) != 0;
  }

  // `warps` warps per line, `lines` lines per thread block.
  template <int warps, int lines>
  static void find(const byte* in, byte* out, const auto& p) {
    __shared__ Best bests[warps * lines];
    const int warp = threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
    const int64_t line = static_cast<int64_t>(blockIdx.x) * lines + warp / warps;
    Best best{T(0), -1};
    int64_t at[2] = {};
    if (line < p.kept.total) {
      p.kept.locate(line, at);
#pragma unroll 8
      for (int64_t i = warp % warps * kLanes + lane; i < p.length; i += warps * kLanes) {
        const Best mine{load<In>(in, at[1] + i * p.stride), i};
        if (beats(mine, best)) best = mine;
      }
    }
    for (int width = kLanes / 2; width > 0; width /= 2) {
      const Best other{__shfl_down_sync(kAllLanes, best.value, width),
                       __shfl_down_sync(kAllLanes, best.at, width)};
      if (beats(other, best)) best = other;
    }
    if constexpr (warps > 1) {
      if (lane == 0) bests[warp] = best;
      __syncthreads();
      for (int w = 0; w < warps; ++w)
        if (const Best& other = bests[warp / warps * warps + w]; beats(other, best)) best = other;
    }
    if (lane == 0 && warp % warps == 0 && line < p.kept.total) store<i64>(out, at[0], best.at);
  }
};

}  // namespace peri::kernels::cuda
