// Rotary position embedding: element j and its partner j + d/2 are rotated by the angle position *
// base^(-2j/d).
#include <array>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/isa.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGrain = 16 * 1024;  // elements

// Cosines and sines of one position's angles. In double up to the reduction to one turn, so that large
// positions lose nothing.
struct Angles {
  PERI_SCALAR static void run(float* cosines, float* sines, double position, const double* frequencies,
                              int64_t half) {
#pragma GCC ivdep
    for (int64_t j = 0; j < half; ++j) {
      const double reduced = scalar::within_one_turn(position * frequencies[j]);
      cosines[j] = scalar::sine_of_quarters(reduced, 1);
      sines[j] = scalar::sine_of_quarters(reduced, 0);
    }
  }
};

struct Rotate {
  PERI_SCALAR static void run(float* y, const float* x, const float* cosines, const float* sines,
                              int64_t half) {
#pragma GCC ivdep
    for (int64_t j = 0; j < half; ++j) {
      const float first = x[j], second = x[j + half];
      y[j] = first * cosines[j] - second * sines[j];
      y[j + half] = second * cosines[j] + first * sines[j];
    }
  }
};

class RopeKernel final : public Kernel {
 public:
  explicit RopeKernel(const KernelCall& call)
      : dtype_(call.dtype()),
        load_(load_tile(dtype_)),
        store_(store_tile(dtype_)),
        load_position_(load_tile(call.inputs[1].dtype)),
        angles_(for_this_cpu<Angles>()),
        rotate_(for_this_cpu<Rotate>()),
        position_stride_(call.in(1).strides[0]),
        position_bytes_(size_of(call.inputs[1].dtype)) {
    const Shape& shape = call.out().shape;
    const int last = shape.rank() - 1;
    half_ = shape[last] / 2;
    positions_ = shape[last - 2];
    out_stride_ = call.out().strides[last];
    in_stride_ = call.in(0).strides[last];
    lines_ = {{}, std::vector<Strides>(3)};
    for (int i = 0; i < last; ++i) {
      lines_.shape.push_back(shape[i]);
      lines_.strides[0].push_back(call.out().strides[i]);
      lines_.strides[1].push_back(call.in(0).strides[i]);
      lines_.strides[2].push_back(i == last - 2 ? half_ : 0);
    }
    lines_ = reordered(std::move(lines_));
    const double base = call.spec.attributes.as<Op::rope>().base;
    frequencies_ = rope_frequencies(base, half_);
    cosines_.resize(static_cast<size_t>(positions_ * half_));
    sines_.resize(cosines_.size());
  }

  void run(Addresses inputs, Addresses outputs) const override {
    if (half_ == 0) return;
    parallel_for(positions_, kGrain / half_ / 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t position;
        load_position_(&position, inputs[1] + i * position_stride_ * position_bytes_, 1, 1);
        angles_(&cosines_[i * half_], &sines_[i * half_], static_cast<double>(position), frequencies_.data(),
                half_);
      }
    });
    const int64_t size = size_of(dtype_), width = 2 * half_;
    parallel_for(lines_.total(), kGrain / width, [&](int64_t begin, int64_t end) {
      auto* x = reinterpret_cast<float*>(thread_scratch(2 * width * static_cast<int64_t>(sizeof(float))));
      float* y = x + width;
      for_each_run(lines_, std::array{0, 1, 2}, begin, end - begin,
                   [&](int64_t, int64_t count, const auto& offsets) {
                     auto [out, in, angle] = offsets;
                     for (int64_t i = 0; i < count; ++i) {
                       load_(x, inputs[0] + in * size, in_stride_, width);
                       rotate_(y, x, &cosines_[angle], &sines_[angle], half_);
                       store_(y, outputs[0] + out * size, out_stride_, width);
                       out += lines_.inner_stride(0);
                       in += lines_.inner_stride(1);
                       angle += lines_.inner_stride(2);
                     }
                   });
    });
  }

 private:
  DType dtype_;
  LoadTile load_;
  StoreTile store_;
  LoadTile load_position_;
  void (*angles_)(float*, float*, double, const double*, int64_t);
  void (*rotate_)(float*, const float*, const float*, const float*, int64_t);
  int64_t position_stride_, position_bytes_;
  int64_t half_, positions_, out_stride_, in_stride_;
  Space lines_;                                 // operands out, in, table of angles
  std::vector<double> frequencies_;             // quarter turns per position
  mutable std::vector<float> cosines_, sines_;  // [positions, half]
};

}  // namespace

CompiledHostKernel compile_rope(const KernelCall& call) {
  switch (op_of<RopeOp>(call.spec.op)) {
    case RopeOp::rope:
      return std::make_unique<RopeKernel>(call);
  }
  PERI_CHECK(false, "not a rotation");
}

}  // namespace peri::kernels::host
