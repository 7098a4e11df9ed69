// Brings a matmul call into cuBLASLt's form: transposed operands by their strides, a batch that shares b as
// more rows of a, and copies of what has no such form (expanded, mirrored or gapped matrices). Then picks who
// computes it: our kernels if it has few rows, else cuBLASLt.
#include "kernels/cuda/matmul/matmul.hpp"

#include <algorithm>
#include <optional>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"

namespace peri::kernels::cuda {
namespace {

std::optional<Matrix> matrix_of(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
  if ((column_stride == 1 || columns == 1) && (row_stride >= columns || rows == 1))
    return Matrix{rows, columns, rows == 1 ? columns : row_stride, false};
  if ((row_stride == 1 || rows == 1) && (column_stride >= rows || columns == 1))
    return Matrix{rows, columns, columns == 1 ? rows : column_stride, true};
  return std::nullopt;
}

std::optional<Matrix> matrix_of(const View& view) {
  const int rank = view.shape.rank();
  return matrix_of(view.shape[rank - 2], view.shape[rank - 1], view.strides[rank - 2],
                   view.strides[rank - 1]);
}

void fold_batch_into_rows(BlasGemm& p) {
  if (p.a.transposed || p.c.transposed) return;
  const std::optional<BatchRows> rows = rows_of_batch(p.batch, p.a.rows, p.c.leading, p.a.leading);
  if (!rows || rows->c_stride < p.c.columns || rows->a_stride < p.a.columns) return;
  p.a = {rows->count, p.a.columns, rows->a_stride, false};
  p.c = {rows->count, p.c.columns, rows->c_stride, false};
  p.batch = {{}, std::vector<Strides>(3)};
}

// c^T = b^T a^T.
BlasGemm transposed(const BlasGemm& p) {
  auto flip = [](const Matrix& x) { return Matrix{x.columns, x.rows, x.leading, !x.transposed}; };
  BlasGemm q{p.dtype, p.batch, flip(p.c), flip(p.b), flip(p.a), !p.swapped};
  std::swap(q.batch.strides[1], q.batch.strides[2]);
  return q;
}

// Operands without a form of cuBLASLt's are copied to or from the scratch of this kernel.
class CopyingKernel final : public Kernel {
 public:
  struct Operand {
    std::shared_ptr<const Kernel> copy;  // null: used as it is
    Scratch scratch;
  };
  Operand in[2], out;
  std::shared_ptr<const Kernel> product;

  Status launch(cudaStream_t stream, std::span<std::byte* const> inputs,
                std::span<std::byte* const> outputs) const override {
    std::byte* operands[] = {inputs[0], inputs[1]};
    for (size_t i = 0; i < 2; ++i) {
      if (!in[i].copy) continue;
      operands[i] = in[i].scratch.data();
      PERI_TRY(in[i].copy->launch(stream, inputs.subspan(i, 1), std::span(&operands[i], 1)));
    }
    std::byte* const result = out.copy ? out.scratch.data() : outputs[0];
    PERI_TRY(product->launch(stream, operands, std::span(&result, 1)));
    return out.copy ? out.copy->launch(stream, std::span(&result, 1), outputs) : Status{};
  }
};

// Writes zeros: the product of matrices without a common dimension.
class ZeroKernel final : public Kernel {
 public:
  explicit ZeroKernel(std::shared_ptr<const Kernel> fill) : fill_(std::move(fill)) {}
  Status launch(cudaStream_t stream, std::span<std::byte* const>,
                std::span<std::byte* const> outputs) const override {
    return fill_->launch(stream, {}, outputs);
  }

 private:
  std::shared_ptr<const Kernel> fill_;
};

CompiledCudaKernel compile_zeros(const KernelCall& call) {
  const Shape& shape = call.out().shape;
  const KernelSpec spec{
      Op::full,
      AttributesOf<Op::full>{.shape = Ints(shape.begin(), shape.end()), .value = 0, .dtype = call.dtype()},
      {}};
  auto fill = PERI_TRY(compile_creation({spec, {}, call.outputs}));
  return std::make_shared<ZeroKernel>(std::move(fill));
}

CompiledCudaKernel compile_copying(const KernelCall& call) {
  auto kernel = std::make_shared<CopyingKernel>();
  std::vector<OperandType> inputs(call.inputs.begin(), call.inputs.end());
  OperandType output = call.outputs[0];
  const int64_t bytes = size_of(call.dtype());
  auto replace = [&](OperandType& operand, bool is_input) -> Result<CopyingKernel::Operand> {
    CopyingKernel::Operand replaced;
    if (matrix_of(operand.view)) return replaced;
    const View apart = operand.view;
    operand.view = View::contiguous(apart.shape);
    const Strides &from = is_input ? apart.strides : operand.view.strides,
                  &to = is_input ? operand.view.strides : apart.strides;
    replaced.copy = PERI_TRY(make_copy(apart.shape, from, to, bytes));
    replaced.scratch = PERI_TRY(Scratch::allocate(numel(apart.shape) * bytes));
    return replaced;
  };
  for (size_t i = 0; i < 2; ++i) kernel->in[i] = PERI_TRY(replace(inputs[i], true));
  kernel->out = PERI_TRY(replace(output, false));
  kernel->product = PERI_TRY(compile_matmul({call.spec, inputs, std::span(&output, 1)}));
  return kernel;
}

}  // namespace

static CompiledCudaKernel make_gemm(const KernelCall& call) {
  const View &a = call.in(0), &b = call.in(1), &c = call.out();
  if (numel(c.shape) == 0) return make_kernel({});
  if (a.shape[a.shape.rank() - 1] == 0) return compile_zeros(call);
  const std::optional<Matrix> of_a = matrix_of(a), of_b = matrix_of(b), of_c = matrix_of(c);
  if (!of_a || !of_b || !of_c) return compile_copying(call);
  BlasGemm product{call.dtype(), batch_of_products(call), *of_c, *of_a, *of_b, false};
  fold_batch_into_rows(product);
  if (product.c.transposed) product = transposed(product);
  if (const auto skinny = skinny_gemm_of(product, multiprocessors()))
    return make_skinny_gemm(*skinny, product.swapped);
  return make_blas_gemm(product);
}

CompiledCudaKernel compile_matmul(const KernelCall& call) {
  switch (op_of<MatmulOp>(call.spec.op)) {
    case MatmulOp::matmul: {
      const MatrixOperands matrices = as_matrices(call);
      return make_gemm({call.spec, matrices.inputs, std::span(&matrices.output, 1)});
    }
  }
  PERI_CHECK(false, "not a matmul");
}

}  // namespace peri::kernels::cuda
