// softmax, rms_norm and layer_norm: `warps` warps per line (a power of two; more than one: one line per
// thread block), each block of a line folded by one warp in the order of source_fold.cuh. Many lines: one is
// read once per pass, after the first from L1; kept in registers it costs more than it saves (99 against 65
// us for 8192 lines of 4096). Few lines: there a thread waits for its loads, not for bandwidth, so it loads
// all at once, and keeps them. `unit`: all strides along the line are 1, so that a lane's elements lie at
// constant distances. The output may have the memory of the operand if their layouts are the same: every
// thread writes only elements that it alone read last.
#pragma once

#include "kernels/cuda/nvrtc/source_fold.cuh"

namespace peri::kernels::cuda {

template <int rank>
struct Normalisation {
  Space<2, rank> lines;  // operands out, in
  int64_t length, out_stride, in_stride;
  int64_t weight_stride, bias_stride;
  double eps;
};

template <class E, int warps, bool unit>
struct Line {
  const byte* in;
  byte* out;
  int64_t in_at, out_at, in_stride, out_stride, length;

  static int lane() { return threadIdx.x % kLanes; }
  static int warp() { return warps > 1 ? threadIdx.x / kLanes : 0; }
  // Element i, as block + position: the position is constant but for the lane.
  float x(int64_t block, int i) const {
    return load<E>(in, in_at + block * in_stride + i * (unit ? 1 : in_stride));
  }
  void y(int64_t block, int i, float value) const {
    store<E>(out, out_at + block * out_stride + i * (unit ? 1 : out_stride), value);
  }
  // Elements of the block at `begin`; none (or less) if the line ends before it.
  int count_from(int64_t begin) const {
    return length - begin < kBlock ? static_cast<int>(length - begin) : kBlock;
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
      if (count > 0) sum = fold_block<op, float>(count, [&](int i) { return of(x(begin, i)); });
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

  // A parameter for each element of a line.
  struct Parameter {
    const byte* data;
    int64_t stride;
    float get(int64_t block, int i, int) const {
      return load<E>(data, block * stride + i * (unit ? 1 : stride));
    }
  };
  Parameter parameter(const byte* data, int64_t stride) const { return {data, stride}; }

  // Writes of(block, i, k, x) for this thread's elements, those that it folds; k: which one in its block.
  template <class Of>
  void write(Of of) const {
    for (int64_t begin = warp() * kBlock; begin < length; begin += warps * kBlock) {
      const int count = count_from(begin);
#pragma unroll 8
      for (int i = lane(); i < count; i += kLanes) y(begin, i, of(begin, i, 0, x(begin, i)));
    }
  }
};

// Whether a thread keeps its elements, and whether there are as many for each.
enum class Kept { none, some, all };

// A line of at most a block for each warp, kept in registers. `full`: of a whole block for each.
template <class E, int warps, bool unit, bool full>
struct KeptLine {
  static constexpr int kPerLane = kBlock / kLanes;
  using L = Line<E, warps, unit>;
  const L& line;
  const int64_t length = line.length, begin = L::warp() * kBlock;
  const int count = line.count_from(begin);  // none, or less, for the warps after the last
  float kept[kPerLane];

  explicit KeptLine(const L& l) : line(l) {
    each([&](int k, int i) { kept[k] = line.x(begin, i); });
  }
  template <class F>
  void each(F f) const {
#pragma unroll
    for (int k = 0; k < kPerLane; ++k)
      if (const int i = k * kLanes + L::lane(); full || i < count) f(k, i);
  }

  template <Op op, class Of>
  double fold(Of of) const {
    __shared__ float partials[32];
    float sum = identity<op, float>();
    each([&](int k, int) { sum = combine<op, float>(sum, of(kept[k])); });
    sum = fold_lanes<op, float>(sum, full ? kBlock : count);
    double total = identity<op, double>();
    if constexpr (warps == 1) return combine<op, double>(total, __shfl_sync(kAllLanes, sum, 0));
    if (L::lane() == 0) partials[L::warp()] = sum;
    __syncthreads();
    for (int w = 0; w < warps && w * kBlock < length; ++w) total = combine<op, double>(total, partials[w]);
    __syncthreads();
    return total;
  }

  struct Parameter {
    float kept[kPerLane];
    float get(int64_t, int, int k) const { return kept[k]; }
  };
  Parameter parameter(const byte* data, int64_t stride) const {
    Parameter result;
    const typename L::Parameter from = line.parameter(data, stride);
    if (data) each([&](int k, int i) { result.kept[k] = from.get(begin, i, k); });
    return result;
  }

  template <class Of>
  void write(Of of) const {
    each([&](int k, int i) { line.y(begin, i, of(begin, i, k, kept[k])); });
  }
};

template <class E, int warps, int lines_per_block, bool unit, Kept kept, int rank, class Body>
void for_line(const byte* in, byte* out, const Normalisation<rank>& r, Body body) {
  const int64_t number = static_cast<int64_t>(blockIdx.x) * lines_per_block +
                         (warps == 1 ? static_cast<int>(threadIdx.x) / kLanes : 0);
  if (number >= r.lines.total) return;
  int64_t at[2];
  r.lines.locate(number, at);
  const Line<E, warps, unit> line{in, out, at[1], at[0], r.in_stride, r.out_stride, r.length};
  if constexpr (kept != Kept::none)
    body(KeptLine < E, warps, unit, kept == Kept::all > (line));
  else
    body(line);
}

template <class E, int warps, int lines_per_block, bool unit, Kept kept, int rank>
void softmax(const byte* in, byte* out, const Normalisation<rank>& r) {
  for_line<E, warps, lines_per_block, unit, kept>(in, out, r, [&](const auto& line) {
    const auto largest = static_cast<float>(line.template fold<Op::maximum>([](float x) { return x; }));
    auto weight = [&](float x) { return scalar::exp(x - largest); };
    const auto sum = static_cast<float>(line.template fold<Op::add>(weight));
    line.write([&](int64_t, int, int, float x) { return weight(x) / sum; });
  });
}

template <class E, int warps, int lines_per_block, bool unit, Kept kept, int rank>
void rms_norm(const byte* in, const byte* weight, byte* out, const Normalisation<rank>& r) {
  for_line<E, warps, lines_per_block, unit, kept>(in, out, r, [&](const auto& line) {
    const auto weights = line.parameter(weight, r.weight_stride);
    const double squares = line.template fold<Op::add>([](float x) { return x * x; });
    const auto mean = static_cast<float>(squares / static_cast<double>(line.length));
    const float scale = 1.0f / scalar::sqrt(mean + static_cast<float>(r.eps));
    line.write([&](int64_t block, int i, int k, float x) { return x * scale * weights.get(block, i, k); });
  });
}

// `bias` is null if there is none.
template <class E, int warps, int lines_per_block, bool unit, Kept kept, int rank>
void layer_norm(const byte* in, const byte* weight, const byte* bias, byte* out,
                const Normalisation<rank>& r) {
  for_line<E, warps, lines_per_block, unit, kept>(in, out, r, [&](const auto& line) {
    const auto weights = line.parameter(weight, r.weight_stride),
               biases = line.parameter(bias, r.bias_stride);
    const auto length = static_cast<double>(line.length);
    const auto mean = static_cast<float>(line.template fold<Op::add>([](float x) { return x; }) / length);
    const auto variance = static_cast<float>(
        line.template fold<Op::add>([&](float x) { return (x - mean) * (x - mean); }) / length);
    const float scale = 1.0f / scalar::sqrt(variance + static_cast<float>(r.eps));
    line.write([&](int64_t block, int i, int k, float x) {
      const float y = (x - mean) * scale * weights.get(block, i, k);
      return bias ? y + biases.get(block, i, k) : y;
    });
  });
}

}  // namespace peri::kernels::cuda
