// index_copy, scatter and scatter_add. A number out of range writes nothing; no address outside the operands
// is ever formed. Where several numbers are the same, their order decides, so that there is one result.
#pragma once

#include "kernels/cuda/compute/copy.cuh"
#include "kernels/cuda/nvrtc/source_fold.cuh"

namespace peri::kernels::cuda {

template <int rank>
struct Insertion {
  Space<2, rank> slice;  // operands out, source
  int64_t count, index_stride, rows, row_stride, source_stride, parts;
};

// `parts` (below 2^31) thread blocks per index. Of several indices with one value the last one writes.
template <int bytes, class I, class Index, int rank>
void insert(const byte* index, const byte* source, byte* out, const Insertion<rank>& s) {
  using U = Unit<bytes>;
  const auto parts = static_cast<uint32_t>(s.parts);
  const int64_t number = blockIdx.x / parts, part = blockIdx.x % parts;
  const int64_t row = load<I>(index, number * s.index_stride);
  if (row < 0 || row >= s.rows) return;
  bool is_later = false;
  for (int64_t i = number + 1 + threadIdx.x; i < s.count; i += blockDim.x)
    is_later |= load<I>(index, i * s.index_stride) == row;
  if (__syncthreads_or(is_later)) return;
  for (int64_t i = part * blockDim.x + threadIdx.x; i < s.slice.total; i += s.parts * blockDim.x) {
    int64_t at[2];
    s.slice.locate(static_cast<Index>(i), at);
    reinterpret_cast<U*>(out)[at[0] + row * s.row_stride] =
        reinterpret_cast<const U*>(source)[at[1] + number * s.source_stride];
  }
}

template <int rank>
struct Scattering {
  Space<3, rank> lines;  // operands accumulators, index, source
  int64_t count, rows;   // along the dimension: of the index, of the accumulators
  int64_t out_stride, index_stride, source_stride;
};

// E: an element of the source, A: one of the accumulators, I: a number. Lines share no accumulator.
template <class E, class A, class I, bool adds>
struct Scatterer {
  using T = Register<A>;

  static T combined(T sum, T x) {
    if constexpr (adds) return scalar::add(sum, x);
    return x;
  }
  // The row that a number names, -1 if there is none.
  static int64_t row_at(const byte* index, int64_t offset, int64_t rows) {
    const int64_t row = load<I>(index, offset);
    return row >= 0 && row < rows ? row : -1;
  }

  // A thread per line, in steps of several numbers, so that what they name is read at once.
  static void by_threads(const byte* index, const byte* source, byte* out, const auto& s) {
    constexpr int kStep = 8;
    const int64_t line = global_thread<int64_t>();
    if (line >= s.lines.total) return;
    int64_t at[3];
    s.lines.locate(line, at);
    for (int64_t first = 0; first < s.count; first += kStep) {
      int64_t row[kStep];
      T sum[kStep], x[kStep];
#pragma unroll
      for (int q = 0; q < kStep; ++q) {
        const int64_t i = first + q;
        row[q] = i < s.count ? row_at(index, at[1] + i * s.index_stride, s.rows) : -1;
        x[q] = row[q] < 0 ? T(0) : load<E>(source, at[2] + i * s.source_stride);
        sum[q] = adds && row[q] >= 0 ? load<A>(out, at[0] + row[q] * s.out_stride) : T(0);
      }
#pragma unroll
      for (int q = 0; q < kStep; ++q) {
        if (row[q] < 0) continue;
#pragma unroll
        for (int p = 0; p < q; ++p)
          if (row[p] == row[q]) sum[q] = sum[p];  // the last of them has the others
        sum[q] = combined(sum[q], x[q]);
        store<A>(out, at[0] + row[q] * s.out_stride, sum[q]);
      }
    }
  }

  // A warp per line, 32 numbers at a time: the first lane of those with one number takes the others' elements
  // in their order. __syncwarp orders its store before the loads of the next 32.
  static void by_warps(const byte* index, const byte* source, byte* out, const auto& s) {
    const int64_t line = global_thread<int64_t>() / kLanes;
    const int lane = threadIdx.x % kLanes;
    if (line >= s.lines.total) return;
    int64_t at[3];
    s.lines.locate(line, at);
    for (int64_t first = 0; first < s.count; first += kLanes) {
      const int64_t i = first + lane;
      const int64_t row = i < s.count ? row_at(index, at[1] + i * s.index_stride, s.rows) : -1;
      const T x = row < 0 ? T(0) : load<E>(source, at[2] + i * s.source_stride);
      uint32_t same = __match_any_sync(kAllLanes, static_cast<long long>(row));
      const bool is_first = row >= 0 && __ffs(same) - 1 == lane;
      T sum = adds && is_first ? load<A>(out, at[0] + row * s.out_stride) : T(0);
      if (row < 0) same = 0;
      while (__any_sync(kAllLanes, same != 0)) {
        const T other = __shfl_sync(kAllLanes, x, same ? __ffs(same) - 1 : lane);
        if (same) sum = combined(sum, other);
        same &= same - 1;
      }
      if (is_first) store<A>(out, at[0] + row * s.out_stride, sum);
      __syncwarp();
    }
  }
};

// Between a tensor and accumulators in row-major order, one element per thread.
template <int rank>
struct Everything {
  Space<3, rank> space;  // operands out, x, accumulators
};
template <class E, class A>
void widen(const byte* x, byte* accumulators, const auto& e) {
  const int64_t i = global_thread<int64_t>();
  if (i >= e.space.total) return;
  int64_t at[3];
  e.space.locate(i, at);
  store<A>(accumulators, at[2], load<E>(x, at[1]));
}
template <class E, class A>
void narrow(const byte* accumulators, byte* out, const auto& e) {
  const int64_t i = global_thread<int64_t>();
  if (i >= e.space.total) return;
  int64_t at[3];
  e.space.locate(i, at);
  store<E>(out, at[0], load<A>(accumulators, at[2]));
}

}  // namespace peri::kernels::cuda
