// Products of few rows, as host code launches them. Plain types only, because .cu files are C++20 and the
// host's are C++23.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace peri::kernels::cuda {

constexpr int kSkinnyRows = 16;     // at most
constexpr int kSkinnyCluster = 8;   // blocks among which k is split, at most: what every device can place
constexpr int kSkinnyColumns = 64;  // of one cluster
constexpr int kSkinnyDepth = 512;   // of k that one pass of a block takes

enum class SkinnyElement : uint8_t { f16, bf16 };

// c [m, n] = a [m, k] b [k, n], bf16 or f16. Rows of a and c are contiguous, lda and ldc elements apart;
// those of b, too, or (transposed) its columns. k and lda are multiples of 8; so is ldb, and n unless b is
// transposed.
struct SkinnyGemm {
  int m, n, k;
  int64_t lda, ldb, ldc;
  SkinnyElement element;
  bool is_transposed;
  int cluster;  // 1, 2, 4 or 8
};

// Makes the code ready for launches that are captured.
cudaError_t load_skinny_gemm(const SkinnyGemm& product);
// Addresses that are not multiples of 16 cost time and change no bit. `early`: b may be read before the
// kernel before has ended, if that lets the next begin.
cudaError_t launch_skinny_gemm(const SkinnyGemm& product, const void* a, const void* b, void* c, bool early,
                               cudaStream_t stream);

}  // namespace peri::kernels::cuda
