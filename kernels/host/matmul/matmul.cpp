// Brings a matmul call into normal form and chooses how to compute it.
#include "kernels/host/matmul/matmul.hpp"

#include <optional>
#include <utility>

#include "kernels/compute/kernel_forms.hpp"

namespace peri::kernels::host {
namespace {

// Up to here reading b is what takes the time, and oneDNN 2.6 reads f32 at a third to two thirds of the
// memory's bandwidth (bf16, where the processor multiplies it, at all of it), and what it does not read
// natively it needs converted first.
constexpr int64_t kSkinnyRows = 4;
constexpr int64_t kSkinnyRowsConverted = 16;

void fold_batch_into_rows(StridedGemm& p) {
  const std::optional<BatchRows> rows = rows_of_batch(p.batch, p.m, p.c_row, p.a_row);
  if (!rows) return;
  p.m = rows->count;
  p.c_row = rows->c_stride;
  p.a_row = rows->a_stride;
  p.batch = {{}, std::vector<Strides>(3)};
}

// c = a b as c^T = b^T a^T, so that the side with few rows is a's.
void swap_sides(StridedGemm& p) {
  std::swap(p.m, p.n);
  std::swap(p.batch.strides[1], p.batch.strides[2]);
  std::swap(p.a_row, p.b_column);
  std::swap(p.a_column, p.b_row);
  std::swap(p.c_row, p.c_column);
  p.swapped = true;
}

}  // namespace

static CompiledHostKernel compile_gemm(const KernelCall& call) {
  const View &a = call.in(0), &b = call.in(1), &c = call.out();
  const int rank = c.shape.rank(), ra = a.shape.rank(), rb = b.shape.rank();
  StridedGemm p{};
  p.dtype = call.dtype();
  p.m = c.shape[rank - 2];
  p.n = c.shape[rank - 1];
  p.k = a.shape[ra - 1];
  p.c_row = c.strides[rank - 2];
  p.c_column = c.strides[rank - 1];
  p.a_row = a.strides[ra - 2];
  p.a_column = a.strides[ra - 1];
  p.b_row = b.strides[rb - 2];
  p.b_column = b.strides[rb - 1];
  p.batch = batch_of_products(call);
  fold_batch_into_rows(p);
  if (p.k == 0 || numel(c.shape) == 0) return compile_skinny_gemm(p);
  const int64_t skinny_rows = !onednn_multiplies(p.dtype) ? kSkinnyRowsConverted
                              : p.dtype == DType::f32     ? kSkinnyRows
                                                          : 0;
  if (p.n < p.m && p.n <= skinny_rows) swap_sides(p);
  return p.m <= skinny_rows ? compile_skinny_gemm(p) : compile_onednn_gemm(p);
}

CompiledHostKernel compile_matmul(const KernelCall& call) {
  switch (op_of<MatmulOp>(call.spec.op)) {
    case MatmulOp::matmul: {
      const MatrixOperands matrices = as_matrices(call);
      return compile_gemm({call.spec, matrices.inputs, std::span(&matrices.output, 1)});
    }
  }
  PERI_CHECK(false, "not a matmul");
}

}  // namespace peri::kernels::host
