// Copies between any two layouts, in units of 1 to 16 bytes that are side by side in both: one unit per
// thread, or, where input and output are fast along different dimensions, through tiles in shared memory.
#pragma once

#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

template <int bytes>
struct alignas(bytes) Unit {
  uint8_t bytes_[bytes];
};
template <>
struct alignas(2) Unit<2> {
  uint16_t bits;
};
template <>
struct alignas(4) Unit<4> {
  uint32_t bits;
};
template <>
struct alignas(8) Unit<8> {
  uint64_t bits;
};
template <>
struct alignas(16) Unit<16> {
  uint64_t bits[2];
};

constexpr int kUnitsPerThread = 4;

template <int bytes, class Index, int rank>
void copy(const byte* in, byte* out, const Space<2, rank>& space) {
  using U = Unit<bytes>;
  U units[kUnitsPerThread];
  int64_t to[kUnitsPerThread];
  const Index first = static_cast<Index>(blockIdx.x) * blockDim.x * kUnitsPerThread + threadIdx.x;
#pragma unroll
  for (int u = 0; u < kUnitsPerThread; ++u) {
    const Index i = first + u * blockDim.x;
    if (i >= static_cast<Index>(space.total)) break;
    int64_t at[2];
    space.locate(i, at);
    to[u] = at[0];
    units[u] = reinterpret_cast<const U*>(in)[at[1]];
  }
#pragma unroll
  for (int u = 0; u < kUnitsPerThread; ++u) {
    if (first + u * blockDim.x >= static_cast<Index>(space.total)) break;
    reinterpret_cast<U*>(out)[to[u]] = units[u];
  }
}

// The last dimension of `matrix` is the output's fast one, the last but one the input's; a tile is 32 by 32,
// a thread block has 32 by 8 threads.
template <int rank>
struct Transposition {
  Space<2, rank> outer;  // the other dimensions: operands out, in
  int64_t rows, columns, out_row, out_column, in_row, in_column, row_tiles, column_tiles;
};

template <int bytes, int rank>
void transpose(const byte* in, byte* out, const Transposition<rank>& t) {
  using U = Unit<bytes>;
  constexpr int kTile = 32, kThreadRows = 8;
  __shared__ U tile[kTile][kTile + 1];
  const int64_t number = blockIdx.x, column = number % t.column_tiles * kTile;
  const int64_t row = number / t.column_tiles % t.row_tiles * kTile;
  const int x = threadIdx.x % kTile, y = threadIdx.x / kTile;
  int64_t at[2];
  t.outer.locate(number / t.column_tiles / t.row_tiles, at);
  auto* from = reinterpret_cast<const U*>(in) + at[1];
  auto* to = reinterpret_cast<U*>(out) + at[0];
#pragma unroll
  for (int i = y; i < kTile; i += kThreadRows)  // x runs along the rows, which are fast in the input
    if (row + x < t.rows && column + i < t.columns)
      tile[i][x] = from[(row + x) * t.in_row + (column + i) * t.in_column];
  __syncthreads();
#pragma unroll
  for (int i = y; i < kTile; i += kThreadRows)
    if (row + i < t.rows && column + x < t.columns)
      to[(row + i) * t.out_row + (column + x) * t.out_column] = tile[x][i];
}

}  // namespace peri::kernels::cuda
