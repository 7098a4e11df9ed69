// Products of few rows, as host code launches them. Plain types only, because .cu files are C++20 and the
// host's are C++23.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace peri::cuda {

constexpr int kSkinnyRows = 32;     // at most
constexpr int kSkinnyCluster = 8;   // blocks among which k is split, at most: what every device can place
constexpr int kSkinnyColumns = 64;  // of one cluster

// c [m, n] = a [m, k] b [k, n], bf16 or f16. Rows of a and c are contiguous, lda and ldc elements apart;
// those of b, too, or (transposed) its columns. k and lda are multiples of 8; so is ldb, and n unless b is
// transposed.
struct SkinnyProduct {
  int m, n, k;
  int64_t lda, ldb, ldc;
  bool is_bf16, is_transposed;
  int cluster;  // 1, 2, 4 or 8
};

// The warps of a block, of which one runs on a multiprocessor.
__host__ __device__ constexpr int skinny_warps(int rows) {
  return rows <= 16 ? 16 : 8;
}
// Of k that one pass of a block takes.
constexpr int skinny_depth(int rows) {
  return skinny_warps(rows) * 32;
}

// Makes the code ready for launches that are captured.
cudaError_t load_skinny(const SkinnyProduct& product);
// Addresses that are not multiples of 16 cost time and change no bit. `early`: b may be read before the
// kernel before has ended, if that lets the next begin.
cudaError_t launch_skinny(const SkinnyProduct& product, const void* a, const void* b, void* c, bool early,
                          cudaStream_t stream);

}  // namespace peri::cuda
