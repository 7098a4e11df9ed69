// full, arange, rand, randn: one thread per four elements (a block of Philox) of the logical order. The
// numbers of core/types/random.cpp, bit for bit.
#pragma once

#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

template <int rank>
struct Creation {
  Space<1, rank> space;
  double value, step;  // full: value; arange: start, step
  int64_t seed;
};

// The register of a number given in double, by the table's cast.
template <class E>
Register<E> number(double x) {
  if constexpr (std::is_same_v<E, boolean>)
    return x != 0;
  else if constexpr (kIsFloat<E>)
    return static_cast<float>(x);
  else
    return scalar::convert<Memory<E>>(x);
}

struct Words {
  uint32_t at[4];
};
inline Words philox(uint64_t seed, uint64_t block, uint32_t stream) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32), c2 = stream, c3 = 0;
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c0, p1 = uint64_t(0xCD9E8D57u) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

inline float upper_bits(uint32_t word, uint32_t mask) {
  return static_cast<float>(static_cast<int32_t>(word >> 8 & mask));
}

constexpr float kUnit = 0x1p-24f;

template <class E>
struct Uniform {
  static void make(int64_t seed, int64_t block, float (&numbers)[4]) {
    constexpr uint32_t dropped = std::is_same_v<E, bf16> ? 16 : std::is_same_v<E, f16> ? 13 : 0;
    const Words words = philox(seed, block, 0);
    for (int i = 0; i < 4; ++i) numbers[i] = upper_bits(words.at[i], ~0u << dropped) * kUnit;
  }
};

template <class E>
struct Normal {
  static void make(int64_t seed, int64_t block, float (&numbers)[4]) {
    const Words words = philox(seed, block, 1);
    for (int pair = 0; pair < 4; pair += 2) {
      const float radius =
          scalar::sqrt(-2.0f * scalar::log((upper_bits(words.at[pair], ~0u) + 1.0f) * kUnit));
      const double quarters = static_cast<double>(upper_bits(words.at[pair + 1], ~0u) * (4 * kUnit));
      numbers[pair] = radius * scalar::sine_of_quarters(quarters, 1);
      numbers[pair + 1] = radius * scalar::sine_of_quarters(quarters, 0);
    }
  }
};

template <class E, int rank, class Make>
void create(byte* out, const Space<1, rank>& space, Make make) {
  const int64_t first = 4 * global_thread<int64_t>();
  if (first >= space.total) return;
  Register<E> numbers[4];
  make(first, numbers);
  for (int i = 0; i < 4 && first + i < space.total; ++i) {
    int64_t offset[1];
    space.locate(first + i, offset);
    store<E>(out, offset[0], numbers[i]);
  }
}

template <class E, int rank>
void create_numbers(byte* out, const Creation<rank>& c) {
  create<E>(out, c.space, [&](int64_t first, Register<E>(&numbers)[4]) {
    for (int i = 0; i < 4; ++i)  // full keeps the sign of its zero
      numbers[i] = number<E>(c.step == 0 ? c.value : c.value + c.step * static_cast<double>(first + i));
  });
}

template <class E, class Numbers, int rank>
void create_random(byte* out, const Creation<rank>& c) {
  create<E>(out, c.space,
            [&](int64_t first, float(&numbers)[4]) { Numbers::make(c.seed, first / 4, numbers); });
}

}  // namespace peri::kernels::cuda
