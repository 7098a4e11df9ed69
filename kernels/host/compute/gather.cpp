// embedding, index_select and gather: slices or elements of a tensor read by number. A number out of range
// reads as zeros (NaN for floats); no address outside the operands is ever formed.
#include <algorithm>
#include <array>
#include <cstring>
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

constexpr int64_t kGrainBytes = 64 * 1024;

class GatherKernel final : public Kernel {
 public:
  // `from`: the operand that is read, along `dim`; the output's dimensions from `dim` on are those of the
  // indices.
  GatherKernel(const KernelCall& call, size_t from, size_t index, int dim)
      : from_(from),
        index_(index),
        indices_(call.inputs[index]),
        bytes_(size_of(call.dtype())),
        rows_(call.in(from).shape[dim]),
        row_stride_(call.in(from).strides[dim]),
        missing_(missing_value(call.dtype())) {
    View slice = call.out();
    Space numbers{call.in(index).shape, {{}}};
    for (int i = 0; i < numbers.shape.rank(); ++i) {
      numbers.strides[0].push_back(call.out().strides[dim + i]);
      slice = without(slice, dim);
    }
    numbers_ = simplified(std::move(numbers));
    const View source = without(call.in(from), dim);
    copy_ = StridedCopy(slice.shape, source.strides, slice.strides, bytes_);
    fill_ = StridedCopy(slice.shape, broadcast_to(View(), slice.shape).strides, slice.strides, bytes_);
    slice_bytes_ = numel(slice.shape) * bytes_;
  }

  void run(Addresses inputs, Addresses outputs) const override {
    if (slice_bytes_ == 0) return;
    parallel_for(indices_.count(), kGrainBytes / slice_bytes_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        std::byte* to = outputs[0] + numbers_.offset(0, i) * bytes_;
        const int64_t row = indices_.at(inputs[index_], i);
        if (row >= 0 && row < rows_)
          copy_.run(inputs[from_] + row * row_stride_ * bytes_, to);
        else
          fill_.run(reinterpret_cast<const std::byte*>(&missing_), to);
      }
    });
  }

 private:
  size_t from_, index_;
  Indices indices_;
  int64_t bytes_, rows_, row_stride_;
  uint64_t missing_;  // its first bytes are the element's, as the machine is little-endian
  Space numbers_;     // where each index's slice lies in the output
  StridedCopy copy_, fill_;
  int64_t slice_bytes_;
};

// index_select along contiguous lines: line by line, as the elements of a slice lie in as many lines.
class LineGatherKernel final : public Kernel {
 public:
  LineGatherKernel(const KernelCall& call, int dim)
      : indices_(call.inputs[1]),
        bytes_(size_of(call.dtype())),
        length_(call.in(0).shape[dim]),
        out_stride_(call.out().strides[dim]),
        missing_(missing_value(call.dtype())) {
    const View out = without(call.out(), dim), in = without(call.in(0), dim);
    lines_ = simplified({out.shape, {out.strides, in.strides}});
  }
  static bool suits(const View& in, int dim) {
    return dim == in.shape.rank() - 1 && in.strides[dim] == 1 && numel(in.shape) > in.shape[dim];
  }

  void run(Addresses inputs, Addresses outputs) const override {
    const int64_t count = indices_.count();
    positions_.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = indices_.at(inputs[1], i);
      positions_[i] = position >= 0 && position < length_ ? position : -1;
    }
    with_bytes(bytes_, [&]<class T>() {
      auto* from = reinterpret_cast<const T*>(inputs[0]);
      auto* to = reinterpret_cast<T*>(outputs[0]);
      parallel_for(lines_.total(), kGrainBytes / std::max<int64_t>(1, count * bytes_),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t line = begin; line < end; ++line)
                       gather(from + lines_.offset(1, line), to + lines_.offset(0, line));
                   });
    });
  }

 private:
  template <class T>
  void gather(const T* from, T* to) const {
    const auto missing = static_cast<T>(missing_);
    for (size_t i = 0; i < positions_.size(); ++i)
      to[static_cast<int64_t>(i) * out_stride_] = positions_[i] >= 0 ? from[positions_[i]] : missing;
  }

  Indices indices_;
  int64_t bytes_, length_, out_stride_;
  uint64_t missing_;                        // its low bytes are the element's
  Space lines_;                             // operands out, in
  mutable std::vector<int64_t> positions_;  // -1: out of range
};

// A number for each element of the output. U: an element in memory, I: a number.
template <class U, class I>
class ElementGatherKernel final : public Kernel {
 public:
  ElementGatherKernel(const KernelCall& call, int dim)
      : space_(gathered_elements(call)),
        rows_(call.in(0).shape[dim]),
        row_stride_(call.in(0).strides[dim]),
        missing_(element_of(missing_value(call.dtype()))) {}

  void run(Addresses inputs, Addresses outputs) const override {
    const auto* source = reinterpret_cast<const U*>(inputs[0]);
    const auto* index = reinterpret_cast<const I*>(inputs[1]);
    auto* out = reinterpret_cast<U*>(outputs[0]);
    parallel_for(space_.total(), kElementGrain, [&](int64_t begin, int64_t end) {
      for_each_run(space_, std::array{0, 1, 2}, begin, end - begin,
                   [&](int64_t, int64_t count, const auto& at) {
                     run_of(out + at[0], index + at[1], source + at[2], count);
                   });
    });
  }

 private:
  static constexpr int64_t kElementGrain = 16 * 1024;

  static U element_of(uint64_t bits) {
    U element;
    std::memcpy(&element, &bits, sizeof element);
    return element;
  }

  void run_of(U* out, const I* index, const U* source, int64_t count) const {
    const int64_t out_stride = space_.inner_stride(0), index_stride = space_.inner_stride(1),
                  source_stride = space_.inner_stride(2);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = index[i * index_stride];
      out[i * out_stride] =
          row >= 0 && row < rows_ ? source[i * source_stride + row * row_stride_] : missing_;
    }
  }

  Space space_;
  int64_t rows_, row_stride_;
  U missing_;
};

CompiledHostKernel make_element_gather(const KernelCall& call) {
  const int dim = call.spec.attributes.as<Op::gather>().dim;
  return with_dtype(call.dtype(), [&]<DType dtype>() -> CompiledHostKernel {
    using U = typename Element<dtype>::Memory;
    if (call.inputs[1].dtype == DType::i64)
      return std::make_unique<ElementGatherKernel<U, int64_t>>(call, dim);
    return std::make_unique<ElementGatherKernel<U, int32_t>>(call, dim);
  });
}

}  // namespace

CompiledHostKernel compile_gather(const KernelCall& call) {
  switch (op_of<GatherOp>(call.spec.op)) {
    case GatherOp::embedding:
      return std::make_unique<GatherKernel>(call, 1, 0, 0);
    case GatherOp::index_select: {
      const int dim = call.spec.attributes.as<Op::index_select>().dim;
      if (LineGatherKernel::suits(call.in(0), dim)) return std::make_unique<LineGatherKernel>(call, dim);
      return std::make_unique<GatherKernel>(call, 0, 1, dim);
    }
    case GatherOp::gather:
      return make_element_gather(call);
  }
  PERI_CHECK(false, "not a gather");
}

}  // namespace peri::kernels::host
