// The arithmetic of collectives on the device: the same bits as the host's
// (kernels/host/collectives/collective_reduce.cpp). Floats are accumulated in f32 in the order of the group
// and rounded once; integers wrap.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/cuda/symmetric/device_view.cuh"

namespace peri::kernels::cuda {

template <Element>
struct ElementOf;
template <>
struct ElementOf<Element::f32> {
  using Memory = float;
  using Register = float;
  __device__ static float load(float m) { return m; }
  __device__ static float store(float r) { return r; }
};
template <>
struct ElementOf<Element::f16> {
  using Memory = unsigned short;
  using Register = float;
  __device__ static float load(unsigned short m) { return __half2float(__ushort_as_half(m)); }
  __device__ static unsigned short store(float r) { return __half_as_ushort(__float2half_rn(r)); }
};
template <>
struct ElementOf<Element::bf16> {
  using Memory = unsigned short;
  using Register = float;
  __device__ static float load(unsigned short m) { return __uint_as_float(static_cast<uint32_t>(m) << 16); }
  // Not the intrinsic: a NaN keeps its payload here, as in core/types/dtype.hpp.
  __device__ static unsigned short store(float r) {
    const uint32_t u = __float_as_uint(r);
    const uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
    return static_cast<unsigned short>((u & 0x7FFFFFFFu) > 0x7F800000u ? (u >> 16) | 0x40u : rounded);
  }
};
template <>
struct ElementOf<Element::i32> {
  using Memory = int32_t;
  using Register = int64_t;
  __device__ static int64_t load(int32_t m) { return m; }
  __device__ static int32_t store(int64_t r) { return static_cast<int32_t>(r); }
};
template <>
struct ElementOf<Element::i64> {
  using Memory = int64_t;
  using Register = int64_t;
  __device__ static int64_t load(int64_t m) { return m; }
  __device__ static int64_t store(int64_t r) { return r; }
};
template <>
struct ElementOf<Element::u8> {
  using Memory = uint8_t;
  using Register = int64_t;
  __device__ static int64_t load(uint8_t m) { return m; }
  __device__ static uint8_t store(int64_t r) { return static_cast<uint8_t>(r); }
};

__device__ inline float combine(Reduction reduction, float x, float y) {
  switch (reduction) {
    case Reduction::none:
    case Reduction::sum:
    case Reduction::avg:
      return __fadd_rn(x, y);
    case Reduction::min:
      return x < y || x != x ? x : y;
    case Reduction::max:
      return x > y || x != x ? x : y;
    case Reduction::prod:
      return __fmul_rn(x, y);
  }
  return x;
}
// Integers wrap, which only unsigned arithmetic does.
__device__ inline int64_t combine(Reduction reduction, int64_t x, int64_t y) {
  switch (reduction) {
    case Reduction::none:
    case Reduction::sum:
    case Reduction::avg:
      return static_cast<int64_t>(static_cast<uint64_t>(x) + static_cast<uint64_t>(y));
    case Reduction::min:
      return x < y ? x : y;
    case Reduction::max:
      return x > y ? x : y;
    case Reduction::prod:
      return static_cast<int64_t>(static_cast<uint64_t>(x) * static_cast<uint64_t>(y));
  }
  return x;
}
// A mean over 2, 4 or 8 is an exact scaling, whichever way it is written.
__device__ inline float finish(Reduction reduction, float sum, int members) {
  if (reduction != Reduction::avg) return sum;
  const auto count = static_cast<float>(members);
  return (members & (members - 1)) == 0 ? __fmul_rn(sum, 1 / count) : __fdiv_rn(sum, count);
}
__device__ inline int64_t finish(Reduction, int64_t sum, int) {
  return sum;
}

// Elements of one dtype packed into a word: accumulates words member by member. kSum: the caller knows that
// the reduction adds.
template <Element element, class Word, bool kSum = false>
struct Accumulator {
  using E = ElementOf<element>;
  static constexpr int kCount = sizeof(Word) / sizeof(typename E::Memory);
  union Packed {
    Word word;
    typename E::Memory elements[kCount];
    __device__ Packed() {}
  };
  typename E::Register sums[kCount];

  __device__ void begin(Word word) {
    Packed packed;
    packed.word = word;
#pragma unroll
    for (int i = 0; i < kCount; ++i) sums[i] = E::load(packed.elements[i]);
  }
  __device__ void add(Reduction reduction, Word word) {
    Packed packed;
    packed.word = word;
#pragma unroll
    for (int i = 0; i < kCount; ++i)
      sums[i] = combine(kSum ? Reduction::sum : reduction, sums[i], E::load(packed.elements[i]));
  }
  __device__ Word result(Reduction reduction, int members) {
    Packed packed;
#pragma unroll
    for (int i = 0; i < kCount; ++i) packed.elements[i] = E::store(finish(reduction, sums[i], members));
    return packed.word;
  }
};

// Calls f with the element type as a template argument.
template <class F>
auto with_element(Element element, F f) {
  switch (element) {
    case Element::f32:
      return f.template operator()<Element::f32>();
    case Element::f16:
      return f.template operator()<Element::f16>();
    case Element::bf16:
      return f.template operator()<Element::bf16>();
    case Element::i32:
      return f.template operator()<Element::i32>();
    case Element::i64:
      return f.template operator()<Element::i64>();
    case Element::u8:
      break;
  }
  return f.template operator()<Element::u8>();
}

}  // namespace peri::kernels::cuda
