// embedding, index_select and index_copy: slices of a tensor read or written by number. A number out of range
// reads as zeros (NaN for floats) and writes nothing; no address outside the operands is ever formed.
#include <algorithm>
#include <cstring>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/space.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/strided_copy.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGrainBytes = 64 * 1024;

// The indices of an i32 or i64 operand, in logical order.
class Indices {
 public:
  explicit Indices(const OperandType& type)
      : space_(simplified({type.view.shape, {type.view.strides}})), is_wide_(type.dtype == DType::i64) {}

  int64_t count() const { return space_.total(); }
  int64_t at(const std::byte* data, int64_t i) const {
    const int64_t offset = space_.shape.rank() == 1 ? i * space_.strides[0][0] : space_.offset(0, i);
    return is_wide_ ? reinterpret_cast<const int64_t*>(data)[offset]
                    : reinterpret_cast<const int32_t*>(data)[offset];
  }

 private:
  Space space_;
  bool is_wide_;
};

// A view without one dimension: a slice of it.
View without(const View& view, int dim) {
  View slice = view;
  slice.shape.erase(dim);
  slice.strides.erase(dim);
  return slice;
}

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
  }
  PERI_CHECK(false, "not a gather");
}

CompiledHostKernel compile_index_copy(const KernelCall& call) {
  switch (op_of<IndexCopyOp>(call.spec.op)) {
    case IndexCopyOp::index_copy:
      return std::make_unique<IndexCopyKernel>(call, call.spec.attributes.as<Op::index_copy>().dim);
  }
  PERI_CHECK(false, "not an index copy");
}

}  // namespace peri::kernels::host
