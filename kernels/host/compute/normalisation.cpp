// softmax, rms_norm and layer_norm: each takes one line of its operand at a time into registers, computes on
// it in f32, and stores it.
#include <algorithm>
#include <array>
#include <cmath>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/fold.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/isa.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGrain = 16 * 1024;  // elements
constexpr int64_t kColumns = 64;       // lines side by side that are done together

// One line: x and y have `length` registers and may be the same; `weight` and `bias` too, or are null;
// `scratch` is a line.
struct Line {
  float* y;
  const float* x;
  const float *weight, *bias;
  float* scratch;
  int64_t length;
  float eps;
};

struct Softmax {
  PERI_SCALAR static void run(const Line& line) {
    float* y = line.y;
    const float* x = line.x;
    const auto largest = static_cast<float>(fold<Op::maximum>(x, line.length));
#pragma GCC ivdep
    for (int64_t i = 0; i < line.length; ++i) y[i] = scalar::exp(x[i] - largest);
    const auto sum = static_cast<float>(fold<Op::add>(y, line.length));
#pragma GCC ivdep
    for (int64_t i = 0; i < line.length; ++i) y[i] = y[i] / sum;
  }
};

struct RmsNorm {
  PERI_SCALAR static void run(const Line& line) {
    float *y = line.y, *squares = line.scratch;
    const float *x = line.x, *weight = line.weight;
#pragma GCC ivdep
    for (int64_t i = 0; i < line.length; ++i) squares[i] = x[i] * x[i];
    const auto mean =
        static_cast<float>(fold<Op::add>(squares, line.length) / static_cast<double>(line.length));
    const float scale = 1.0f / std::sqrt(mean + line.eps);
#pragma GCC ivdep
    for (int64_t i = 0; i < line.length; ++i) y[i] = x[i] * scale * weight[i];
  }
};

struct LayerNorm {
  PERI_SCALAR static void run(const Line& line) {
    float *y = line.y, *squares = line.scratch;
    const float *x = line.x, *weight = line.weight, *bias = line.bias;
    const auto mean = static_cast<float>(fold<Op::add>(x, line.length) / static_cast<double>(line.length));
#pragma GCC ivdep
    for (int64_t i = 0; i < line.length; ++i) squares[i] = (x[i] - mean) * (x[i] - mean);
    const auto variance =
        static_cast<float>(fold<Op::add>(squares, line.length) / static_cast<double>(line.length));
    const float scale = 1.0f / std::sqrt(variance + line.eps);
    if (bias) {
#pragma GCC ivdep
      for (int64_t i = 0; i < line.length; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < line.length; ++i) y[i] = (x[i] - mean) * scale * weight[i];
    }
  }
};

// A softmax of `columns` lines side by side, row by row: each with the operations of Softmax in the same
// order. x and y: rows x_stride and y_stride apart; `lanes` is [kSumLanes, columns].
struct Columns {
  float* y;
  const float* x;
  int64_t y_stride, x_stride, columns, length;
  float* lanes;
};

struct SoftmaxOfColumns {
  PERI_SCALAR static void run(const Columns& all) {
    float largest[kColumns];
    double totals[kColumns];
    for (int64_t c = 0; c < all.columns; ++c) {
      largest[c] = identity<Op::maximum, float>();
      totals[c] = 0;
    }
    for (int64_t i = 0; i < all.length; ++i) {
      const float* x = all.x + i * all.x_stride;
#pragma GCC ivdep
      for (int64_t c = 0; c < all.columns; ++c) largest[c] = scalar::maximum(largest[c], x[c]);
    }
    for (int64_t at = 0; at < all.length; at += kSumBlock) {
      const int64_t count = all.length - at < kSumBlock ? all.length - at : kSumBlock;
      exponentials(all, largest, at, count);
      for (int64_t c = 0; c < all.columns; ++c) totals[c] += all.lanes[c];
    }
    float sums[kColumns];
    for (int64_t c = 0; c < all.columns; ++c) sums[c] = static_cast<float>(totals[c]);
    for (int64_t i = 0; i < all.length; ++i) {
      float* y = all.y + i * all.y_stride;
#pragma GCC ivdep
      for (int64_t c = 0; c < all.columns; ++c) y[c] = y[c] / sums[c];
    }
  }

 private:
  // Those of one block; their sums are in the first of the lanes afterwards.
  PERI_SCALAR static void exponentials(const Columns& all, const float* largest, int64_t at, int64_t count) {
    const int64_t columns = all.columns;
    for (int64_t l = 0; l < kSumLanes * columns; ++l) all.lanes[l] = 0.0f;
    for (int64_t i = 0; i < count; ++i) {
      const float* x = all.x + (at + i) * all.x_stride;
      float *y = all.y + (at + i) * all.y_stride, *lane = all.lanes + i % kSumLanes * columns;
#pragma GCC ivdep
      for (int64_t c = 0; c < columns; ++c) {
        const float e = scalar::exp(x[c] - largest[c]);
        y[c] = e;
        lane[c] += e;
      }
    }
    for (int64_t width = lanes_used(count) / 2; width > 0; width /= 2)
      for (int64_t i = 0; i < width * columns; ++i) all.lanes[i] += all.lanes[i + width * columns];
  }
};

// Softmax in f32 along a dimension that is not the innermost of either operand.
class ColumnSoftmaxKernel final : public Kernel {
 public:
  explicit ColumnSoftmaxKernel(Lines all)
      : all_(std::move(all)), compute_(for_this_cpu<SoftmaxOfColumns>()) {}
  static bool suits(const Lines& all, DType dtype) {
    return dtype == DType::f32 && all.length > 1 && all.lines.shape.rank() > 0 &&
           all.lines.inner_stride(0) == 1 && all.lines.inner_stride(1) == 1 &&
           all.lines.inner() >= kColumns / 4;
  }

  void run(Addresses inputs, Addresses outputs) const override {
    const Space& lines = all_.lines;
    const int64_t inner = lines.inner(), tiles = (inner + kColumns - 1) / kColumns;
    if (lines.total() == 0) return;
    parallel_for(
        lines.total() / inner * tiles, kGrain / (all_.length * kColumns), [&](int64_t begin, int64_t end) {
          auto* lanes = reinterpret_cast<float*>(thread_scratch(kSumLanes * kColumns * sizeof(float)));
          for (int64_t i = begin; i < end; ++i) {
            const int64_t first = i % tiles * kColumns, line = i / tiles * inner + first;
            compute_({reinterpret_cast<float*>(outputs[0]) + lines.offset(0, line),
                      reinterpret_cast<const float*>(inputs[0]) + lines.offset(1, line), all_.out_stride,
                      all_.in_stride, std::min(kColumns, inner - first), all_.length, lanes});
          }
        });
  }

 private:
  Lines all_;
  void (*compute_)(const Columns&);
};

class NormalisationKernel final : public Kernel {
 public:
  NormalisationKernel(const KernelCall& call, void (*compute)(const Line&))
      : dtype_(call.dtype()), compute_(compute), load_(load_tile(dtype_)), store_(store_tile(dtype_)) {
    Lines all = normalised_lines(call);
    lines_ = std::move(all.lines);
    length_ = all.length;
    in_stride_ = all.in_stride;
    out_stride_ = all.out_stride;
    for (size_t i = 1; i < call.inputs.size(); ++i) parameter_strides_.push_back(call.in(i).strides[0]);
    eps_ = static_cast<float>(call.spec.attributes.find<"eps">().value_or(0));
  }

  void run(Addresses inputs, Addresses outputs) const override {
    if (length_ == 0) return;
    const int64_t size = size_of(dtype_), padded = (length_ + 15) / 16 * 16;
    const bool x_in_place = dtype_ == DType::f32 && in_stride_ == 1,
               y_in_place = dtype_ == DType::f32 && out_stride_ == 1;
    parallel_for(lines_.total(), kGrain / length_, [&](int64_t begin, int64_t end) {
      auto* scratch =
          reinterpret_cast<float*>(thread_scratch(5 * padded * static_cast<int64_t>(sizeof(float))));
      float *x = scratch, *y = scratch + padded;
      Line line{y, x, nullptr, nullptr, scratch + 2 * padded, length_, eps_};
      for (size_t i = 0; i < parameter_strides_.size(); ++i) {
        float* parameter = scratch + (3 + i) * padded;
        load_(parameter, inputs[1 + i], parameter_strides_[i], length_);
        (i == 0 ? line.weight : line.bias) = parameter;
      }
      for_each_run(lines_, std::array{0, 1}, begin, end - begin,
                   [&](int64_t, int64_t count, const auto& offsets) {
                     auto [out_offset, in_offset] = offsets;
                     for (int64_t i = 0; i < count; ++i) {
                       const std::byte* from = inputs[0] + in_offset * size;
                       std::byte* to = outputs[0] + out_offset * size;
                       if (x_in_place)
                         line.x = reinterpret_cast<const float*>(from);
                       else
                         load_(x, from, in_stride_, length_);
                       if (y_in_place) line.y = reinterpret_cast<float*>(to);
                       compute_(line);
                       if (!y_in_place) store_(y, to, out_stride_, length_);
                       in_offset += lines_.inner_stride(1);
                       out_offset += lines_.inner_stride(0);
                     }
                   });
    });
  }

 private:
  DType dtype_;
  void (*compute_)(const Line&);
  LoadTile load_;
  StoreTile store_;
  Space lines_;  // operands out, in
  int64_t length_, in_stride_, out_stride_;
  std::vector<int64_t> parameter_strides_;
  float eps_;
};

}  // namespace

CompiledHostKernel compile_normalisation(const KernelCall& call) {
  switch (op_of<NormalisationOp>(call.spec.op)) {
    case NormalisationOp::softmax:
      if (Lines all = normalised_lines(call); ColumnSoftmaxKernel::suits(all, call.dtype()))
        return std::make_unique<ColumnSoftmaxKernel>(std::move(all));
      return std::make_unique<NormalisationKernel>(call, for_this_cpu<Softmax>());
    case NormalisationOp::rms_norm:
      return std::make_unique<NormalisationKernel>(call, for_this_cpu<RmsNorm>());
    case NormalisationOp::layer_norm:
      return std::make_unique<NormalisationKernel>(call, for_this_cpu<LayerNorm>());
  }
  PERI_CHECK(false, "not a normalisation");
}

}  // namespace peri::kernels::host
