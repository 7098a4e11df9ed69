// softmax, rms_norm and layer_norm: `warps` warps per line (a power of two; more than one: one line per
// thread block), each block of a line folded by one warp in the order of source_fold.cuh. A line of at most a
// block per warp is read once and kept in registers, a longer one is read again in every pass. The output may
// have the memory of the operand if their layouts are the same: every thread writes only elements that it
// alone read last.
#pragma once

#include "kernels/cuda/source_fold.cuh"

namespace peri::cuda {

template <int rank>
struct Rows {
  Space<2, rank> lines;  // operands out, in
  int64_t length, out_stride, in_stride;
  int64_t weight_stride, bias_stride;
  double eps;
};

template <class E, int warps, bool fits>
struct Line {
  static constexpr int kOwn = kBlock / kLanes;  // of a block, per lane
  const byte* in;
  byte* out;
  int64_t in_at, out_at, in_stride, out_stride, length;
  float own[fits ? kOwn : 1];

  static int lane() { return threadIdx.x % kLanes; }
  static int warp() { return warps > 1 ? threadIdx.x / kLanes : 0; }
  float x(int64_t i) const { return load<E>(in, in_at + i * in_stride); }
  void y(int64_t i, float value) const { store<E>(out, out_at + i * out_stride, value); }
  // Elements of the block at `begin`; none (or less) if the line ends before it.
  int count_from(int64_t begin) const {
    return length - begin < kBlock ? static_cast<int>(length - begin) : kBlock;
  }

  void read() {
    if constexpr (fits) {
      const int count = count_from(warp() * kBlock);
#pragma unroll
      for (int q = 0; q < kOwn; ++q)
        own[q] = q * kLanes + lane() < count ? x(warp() * kBlock + q * kLanes + lane()) : 0.0f;
    }
  }

  // All threads of the line get the fold of of(x) over its elements.
  template <Op op, class Of>
  double fold(Of of) const {
    __shared__ float partials[32];
    double total = identity<op, double>();
    for (int64_t first = 0; first < length; first += warps * kBlock) {
      const int64_t begin = first + warp() * kBlock;
      const int count = count_from(begin);
      float sum = identity<op, float>();
      if constexpr (fits) {
#pragma unroll
        for (int q = 0; q < kOwn; ++q)
          if (q * kLanes + lane() < count) sum = combine<op, float>(sum, of(own[q]));
        sum = fold_lanes<op, float>(sum, count);
      } else if (count > 0) {
        sum = fold_block<op, float>(count, [&](int i) { return of(x(begin + i)); });
      }
      if constexpr (warps == 1) {
        total = combine<op, double>(total, __shfl_sync(kAllLanes, sum, 0));
      } else {
        if (lane() == 0) partials[warp()] = sum;
        __syncthreads();
        for (int w = 0; w < warps && first + w * kBlock < length; ++w)
          total = combine<op, double>(total, partials[w]);
        __syncthreads();
      }
    }
    return total;
  }

  // Writes of(i, x) for this thread's elements, those that it folds.
  template <class Of>
  void write(Of of) const {
    if constexpr (fits) {
      const int64_t begin = warp() * kBlock;
      const int count = count_from(begin);
#pragma unroll
      for (int q = 0; q < kOwn; ++q) {
        const int i = q * kLanes + lane();
        if (i < count) y(begin + i, of(begin + i, own[q]));
      }
    } else {
      for (int64_t begin = warp() * kBlock; begin < length; begin += warps * kBlock) {
        const int count = count_from(begin);
#pragma unroll 8
        for (int i = lane(); i < count; i += kLanes) y(begin + i, of(begin + i, x(begin + i)));
      }
    }
  }
};

template <class E, int warps, int lines_per_block, bool fits, int rank, class Body>
void for_line(const byte* in, byte* out, const Rows<rank>& r, Body body) {
  const int64_t number = static_cast<int64_t>(blockIdx.x) * lines_per_block +
                         (warps == 1 ? static_cast<int>(threadIdx.x) / kLanes : 0);
  if (number >= r.lines.total) return;
  int64_t at[2];
  r.lines.locate(number, at);
  Line<E, warps, fits> line{in, out, at[1], at[0], r.in_stride, r.out_stride, r.length, {}};
  line.read();
  body(line);
}

template <class E, int warps, int lines_per_block, bool fits, int rank>
void softmax(const byte* in, byte* out, const Rows<rank>& r) {
  for_line<E, warps, lines_per_block, fits>(in, out, r, [&](const Line<E, warps, fits>& line) {
    const auto largest = static_cast<float>(line.template fold<Op::maximum>([](float x) { return x; }));
    auto weight = [&](float x) { return scalar::exp(x - largest); };
    const auto sum = static_cast<float>(line.template fold<Op::add>(weight));
    line.write([&](int64_t, float x) { return weight(x) / sum; });
  });
}

template <class E, int warps, int lines_per_block, bool fits, int rank>
void rms_norm(const byte* in, const byte* weight, byte* out, const Rows<rank>& r) {
  for_line<E, warps, lines_per_block, fits>(in, out, r, [&](const Line<E, warps, fits>& line) {
    const double squares = line.template fold<Op::add>([](float x) { return x * x; });
    const auto mean = static_cast<float>(squares / static_cast<double>(line.length));
    const float scale = 1.0f / scalar::sqrt(mean + static_cast<float>(r.eps));
    line.write([&](int64_t i, float x) { return x * scale * load<E>(weight, i * r.weight_stride); });
  });
}

// `bias` is null if there is none.
template <class E, int warps, int lines_per_block, bool fits, int rank>
void layer_norm(const byte* in, const byte* weight, const byte* bias, byte* out, const Rows<rank>& r) {
  for_line<E, warps, lines_per_block, fits>(in, out, r, [&](const Line<E, warps, fits>& line) {
    const auto length = static_cast<double>(line.length);
    const auto mean = static_cast<float>(line.template fold<Op::add>([](float x) { return x; }) / length);
    const auto variance = static_cast<float>(
        line.template fold<Op::add>([&](float x) { return (x - mean) * (x - mean); }) / length);
    const float scale = 1.0f / scalar::sqrt(variance + static_cast<float>(r.eps));
    line.write([&](int64_t i, float x) {
      const float y = (x - mean) * scale * load<E>(weight, i * r.weight_stride);
      return bias ? y + load<E>(bias, i * r.bias_stride) : y;
    });
  });
}

}  // namespace peri::cuda
