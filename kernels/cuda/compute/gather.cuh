// embedding, index_select and index_copy, in units of 1 to 16 bytes. A number out of range reads as zeros
// (NaN for floats) and writes nothing; no address outside the operands is ever formed.
#pragma once

#include "kernels/cuda/compute/copy.cuh"

namespace peri::kernels::cuda {

template <int rank>
struct Gather {
  Space<3, rank> space;  // operands out, index (elements), source without the chosen dimension
  int64_t rows, row_stride;
  uint64_t missing[2];  // the bits of a missing unit
};

// One unit of the output per thread.
template <int bytes, class I, class Index, int rank>
void gather(const byte* source, const byte* index, byte* out, const Gather<rank>& s) {
  using U = Unit<bytes>;
  const Index i = global_thread<Index>();
  if (i >= static_cast<Index>(s.space.total)) return;
  int64_t at[3];
  s.space.locate(i, at);
  const int64_t row = load<I>(index, at[1]);
  U unit = *reinterpret_cast<const U*>(s.missing);
  if (row >= 0 && row < s.rows) unit = reinterpret_cast<const U*>(source)[at[2] + row * s.row_stride];
  reinterpret_cast<U*>(out)[at[0]] = unit;
}

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

}  // namespace peri::kernels::cuda
