// A batch of matrix products in one normal form, and the two ways to compute it.
#pragma once

#include "kernels/compute/space.hpp"
#include "kernels/host/compute/compile.hpp"

namespace peri::kernels::host {

// For every element of `batch`: c [m, n] = a [m, k] times b [k, n], strides in elements, all of one float
// dtype.
struct StridedGemm {
  DType dtype;
  Space batch;  // operands c, a, b
  int64_t m, n, k;
  int64_t a_row, a_column, b_row, b_column, c_row, c_column;  // strides: a_row from one row of a to the next
  bool swapped;  // a and b, and m and n, are exchanged against the call: its operands are b, a
};

// Few rows: b is read once at memory speed and a stays in cache. Any strides, any k (0 gives zeros).
CompiledHostKernel compile_skinny_gemm(const StridedGemm& product);
// oneDNN: f32, and bf16 where the processor has instructions for it; else operands are converted to f32
// first.
CompiledHostKernel compile_onednn_gemm(const StridedGemm& product);
// Whether oneDNN multiplies the dtype as it is on this processor.
bool onednn_multiplies(DType dtype);

}  // namespace peri::kernels::host
