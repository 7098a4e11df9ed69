// cumsum and cumprod, in the order of scan_order.hpp: a warp for each block of each line, a lane for each
// segment of it. A line of several blocks needs three launches: the blocks' totals, what stands before each,
// and the elements.
#pragma once

#include "kernels/compute/scan_order.hpp"
#include "kernels/cuda/nvrtc/source_fold.cuh"

namespace peri::kernels::cuda {

constexpr int kScanWarps = 4;  // per thread block
constexpr int kSegment = static_cast<int>(kScanSegment);
static_assert(kScanBlock == kLanes * kScanSegment && kSegment == kLanes);

template <int rank>
struct Scan {
  Space<2, rank> lines;  // operands out, in
  int64_t length, out_stride, in_stride;
  int64_t blocks;  // of a line
};

template <class In, class Out, Op op>
struct Scanner {
  using T = Register<In>;
  using W = Wide<T>;
  // A row per segment, and one element of room so that the lanes' elements lie in different banks.
  using Tile = T[kLanes][kSegment + 1];

  // What stands before each lane's total, ascending from `first`, which becomes what stands behind all.
  static W before(W total, W& first) {
    const int lane = threadIdx.x % kLanes;
    W mine = first;
    for (int l = 0; l < kLanes; ++l) {
      if (l == lane) mine = first;
      first = combine<op, W>(first, __shfl_sync(kAllLanes, total, l));
    }
    return mine;
  }

  // This warp's block: neighbouring warps take neighbouring lines.
  struct Task {
    int64_t line, block;
    int count;
    int64_t at[2];
  };
  static bool find(Task& task, const auto& s) {
    const int64_t number = static_cast<int64_t>(blockIdx.x) * kScanWarps + threadIdx.x / kLanes;
    if (number >= s.lines.total * s.blocks) return false;
    task.line = number % s.lines.total;
    task.block = number / s.lines.total;
    const int64_t left = s.length - task.block * kScanBlock;
    task.count = static_cast<int>(left < kScanBlock ? left : kScanBlock);
    s.lines.locate(task.line, task.at);
    return true;
  }
  static void read(Tile& tile, const byte* in, const Task& task, const auto& s) {
    const int lane = threadIdx.x % kLanes;
    const int64_t from = task.at[1] + task.block * kScanBlock * s.in_stride;
    for (int i = lane; i < kScanBlock; i += kLanes)
      tile[i / kSegment][i % kSegment] =
          i < task.count ? load<In>(in, from + i * s.in_stride) : identity<op, T>();
    __syncwarp();
  }
  static W segment_total(const Tile& tile) {
    W total = identity<op, W>();
    for (int i = 0; i < kSegment; ++i) total = combine<op, W>(total, W(tile[threadIdx.x % kLanes][i]));
    return total;
  }

  // The total of each block, to totals[line][block].
  static void blocks(const byte* in, byte* totals, const auto& s) {
    __shared__ Tile tiles[kScanWarps];
    Tile& tile = tiles[threadIdx.x / kLanes];
    Task task;
    if (!find(task, s)) return;
    read(tile, in, task, s);
    W all = identity<op, W>();
    before(segment_total(tile), all);
    if (threadIdx.x % kLanes == 0) reinterpret_cast<W*>(totals)[task.line * s.blocks + task.block] = all;
  }

  // A warp per line: what stands before each block, in the place of its total.
  static void carries(byte* totals, const auto& s) {
    const int64_t line = static_cast<int64_t>(blockIdx.x) * kScanWarps + threadIdx.x / kLanes;
    if (line >= s.lines.total) return;
    W* of_line = reinterpret_cast<W*>(totals) + line * s.blocks;
    W first = identity<op, W>();
    for (int64_t b = threadIdx.x % kLanes; b / kLanes * kLanes < s.blocks; b += kLanes) {
      const W mine = before(b < s.blocks ? of_line[b] : identity<op, W>(), first);
      if (b < s.blocks) of_line[b] = mine;
    }
  }

  // The elements. Without `has_carries` a line is one block.
  template <bool has_carries>
  static void elements(const byte* in, byte* out, const byte* totals, const auto& s) {
    __shared__ Tile tiles[kScanWarps];
    Tile& tile = tiles[threadIdx.x / kLanes];
    Task task;
    if (!find(task, s)) return;
    const int lane = threadIdx.x % kLanes;
    W block = identity<op, W>();
    if constexpr (has_carries) block = reinterpret_cast<const W*>(totals)[task.line * s.blocks + task.block];
    read(tile, in, task, s);
    W all = identity<op, W>();
    const W segment = before(segment_total(tile), all);
    W total = identity<op, W>();
    for (int i = 0; i < kSegment; ++i) {
      total = combine<op, W>(total, W(tile[lane][i]));
      tile[lane][i] = static_cast<T>(combine<op, W>(block, combine<op, W>(segment, total)));
    }
    __syncwarp();
    const int64_t to = task.at[0] + task.block * kScanBlock * s.out_stride;
    for (int i = lane; i < task.count; i += kLanes)
      store<Out>(out, to + i * s.out_stride, tile[i / kSegment][i % kSegment]);
  }
};

}  // namespace peri::kernels::cuda
