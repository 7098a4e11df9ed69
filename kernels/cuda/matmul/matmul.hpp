// A batch of matrix products in the form that cuBLASLt takes, and their kernels.
#pragma once

#include <optional>

#include "kernels/cuda/compute/kernel_compile.hpp"
#include "kernels/cuda/matmul/skinny_gemm.hpp"

namespace peri::kernels::cuda {

// Makes cuBLASLt load what it loads once for a process (80 ms), so that the first product need not wait.
void load_matmul_library(int device);

// A matrix whose rows (or, transposed, columns) are contiguous, `leading` elements apart.
struct Matrix {
  int64_t rows, columns, leading;
  bool transposed;
};

// For every element of `batch`: c [m, n] = a [m, k] times b [k, n], all of one float dtype, accumulated in
// f32. c is not transposed. Addresses: inputs a and b, or b and a if `swapped`; output c.
struct BlasGemm {
  DType dtype;
  Space batch;  // operands c, a, b
  Matrix c, a, b;
  bool swapped;
};

// By cuBLASLt. Chooses the algorithm: what it proposes is run on operands that are not in the GPU's cache,
// and the fastest is kept on disk for all processes. Needs a device that is not being captured.
CompiledCudaKernel make_blas_gemm(const BlasGemm& product);

// The form for products of few rows, if this is one; for a device of so many multiprocessors.
std::optional<SkinnyGemm> skinny_gemm_of(const BlasGemm& product, int multiprocessors);
CompiledCudaKernel make_skinny_gemm(const SkinnyGemm& product, bool swapped);

}  // namespace peri::kernels::cuda
