// index_copy, scatter and scatter_add: slices or elements written by number, one after the other where they
// may meet. A number out of range writes nothing; no address outside the operands is ever formed.
#include <algorithm>
#include <array>
#include <vector>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/indices.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/strided_copy.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGrain = 16 * 1024;  // elements
constexpr int64_t kColumns = 64;       // lines walked together

class IndexCopyKernel final : public Kernel {
 public:
  IndexCopyKernel(const KernelCall& call, int dim)
      : indices_(call.inputs[1]),
        bytes_(size_of(call.dtype())),
        rows_(call.out().shape[dim]),
        row_stride_(call.out().strides[dim]),
        source_stride_(call.in(2).strides[dim]),
        same_window_(call.in(0) == call.out()),
        copy_all_(call.out().shape, call.in(0).strides, call.out().strides, bytes_) {
    const View slice = without(call.out(), dim);
    copy_slice_ = StridedCopy(slice.shape, without(call.in(2), dim).strides, slice.strides, bytes_);
  }

  void run(Addresses inputs, Addresses outputs) const override {
    // A planner that gives the output its input's memory saves the copy.
    if (!same_window_ || inputs[0] != outputs[0]) copy_all_.run_parallel(inputs[0], outputs[0]);
    // One after the other: of several writes to one slice the last one holds.
    for (int64_t i = 0; i < indices_.count(); ++i) {
      const int64_t row = indices_.at(inputs[1], i);
      if (row < 0 || row >= rows_) continue;
      copy_slice_.run_parallel(inputs[2] + i * source_stride_ * bytes_,
                               outputs[0] + row * row_stride_ * bytes_);
    }
  }

 private:
  Indices indices_;
  int64_t bytes_, rows_, row_stride_, source_stride_;
  bool same_window_;
  StridedCopy copy_all_, copy_slice_;
};

// One number per element of the source. Lines along the dimension share no element, so they may run in any
// order. T: an element in memory, Accumulator: what is written, I: a number.
template <DType dtype, DType accumulator, bool adds, class I>
class ElementScatterKernel final : public Kernel {
 public:
  explicit ElementScatterKernel(const KernelCall& call)
      : all_(simplified({call.out().shape, {call.out().strides, call.in(0).strides}})),
        same_window_(call.in(0) == call.out()),
        copy_(call.out().shape, call.in(0).strides, call.out().strides, size_of(dtype)),
        scattered_(
            scattered_lines(call, kIsApart ? contiguous_strides(call.out().shape) : call.out().strides)) {
    if (kIsApart) apart_.resize(static_cast<size_t>(all_.total()));
  }

  void run(Addresses inputs, Addresses outputs) const override {
    auto* out = reinterpret_cast<A*>(outputs[0]);
    if constexpr (kIsApart) {
      out = apart_.data();
      move_all(1, inputs[0], [&](int64_t at, std::byte* x, int64_t stride, int64_t count) {
        load_tile(dtype)(out + at, x, stride, count);
      });
    } else if (!same_window_ || inputs[0] != outputs[0]) {
      // A planner that gives the output its input's memory saves the copy.
      copy_.run_parallel(inputs[0], outputs[0]);
    }
    const auto* index = reinterpret_cast<const I*>(inputs[1]);
    const auto* source = reinterpret_cast<const T*>(inputs[2]);
    if (scattered_.count == 0) return finish(outputs[0]);
    parallel_for(scattered_.lines.total(), kGrain / scattered_.count, [&](int64_t begin, int64_t end) {
      for_each_run(scattered_.lines, std::array{0, 1, 2}, begin, end - begin,
                   [&](int64_t, int64_t count, const std::array<int64_t, 3>& at) {
                     for (int64_t c = 0; c < count; c += kColumns)
                       scatter(out + at[0] + c * scattered_.lines.inner_stride(0),
                               index + at[1] + c * scattered_.lines.inner_stride(1),
                               source + at[2] + c * scattered_.lines.inner_stride(2),
                               std::min(kColumns, count - c));
                   });
    });
    finish(outputs[0]);
  }

 private:
  using T = typename Element<dtype>::Memory;
  using A = typename Element<accumulator>::Memory;
  // Sums of 16-bit floats are kept in f32, in memory of their own, until all are there.
  static constexpr bool kIsApart = dtype != accumulator;

  void finish(std::byte* out) const {
    if constexpr (kIsApart)
      move_all(0, out, [&](int64_t at, std::byte* x, int64_t stride, int64_t count) {
        store_tile(dtype)(apart_.data() + at, x, stride, count);
      });
  }

  // Calls move(element, address, stride, count) for all runs of an operand of `all_`.
  template <class Move>
  void move_all(int operand, std::byte* data, Move move) const {
    parallel_for(all_.total(), kGrain, [&](int64_t begin, int64_t end) {
      for_each_run(all_, operand, begin, end - begin, [&](int64_t done, int64_t count, int64_t offset) {
        move(begin + done, data + offset * size_of(dtype), all_.inner_stride(operand), count);
      });
    });
  }

  // Lines side by side, position after position.
  void scatter(A* out, const I* index, const T* source, int64_t columns) const {
    const Space& lines = scattered_.lines;
    for (int64_t i = 0; i < scattered_.count; ++i)
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t row = index[i * scattered_.index_stride + c * lines.inner_stride(1)];
        if (row < 0 || row >= scattered_.rows) continue;
        A& to = out[row * scattered_.out_stride + c * lines.inner_stride(0)];
        const T& from = source[i * scattered_.source_stride + c * lines.inner_stride(2)];
        if constexpr (adds)
          to = Element<accumulator>::store(
              scalar::add(Element<accumulator>::load(to), Element<dtype>::load(from)));
        else
          to = from;
      }
  }

  Space all_;  // operands out, x; in row-major order
  bool same_window_;
  StridedCopy copy_;
  ScatteredLines scattered_;
  mutable std::vector<A> apart_;
};

template <bool adds>
CompiledHostKernel make_element_scatter(const KernelCall& call) {
  return with_dtype(call.dtype(), [&]<DType dtype>() -> CompiledHostKernel {
    constexpr DType kAccumulator = adds && is_float(dtype) ? DType::f32 : dtype;
    if (call.inputs[1].dtype == DType::i64)
      return std::make_unique<ElementScatterKernel<dtype, kAccumulator, adds, int64_t>>(call);
    return std::make_unique<ElementScatterKernel<dtype, kAccumulator, adds, int32_t>>(call);
  });
}

}  // namespace

CompiledHostKernel compile_scatter(const KernelCall& call) {
  switch (op_of<ScatterOp>(call.spec.op)) {
    case ScatterOp::index_copy:
      return std::make_unique<IndexCopyKernel>(call, call.spec.attributes.as<Op::index_copy>().dim);
    case ScatterOp::scatter:
      return make_element_scatter<false>(call);
    case ScatterOp::scatter_add:
      return make_element_scatter<true>(call);
  }
  PERI_CHECK(false, "not a scatter");
}

}  // namespace peri::kernels::host
