// Philox and what is made of its words. One block of four elements at a time, the layout of
// core/types/random.hpp.
#include "core/types/random.hpp"

#include <algorithm>

#include "core/types/scalar_float.hpp"

namespace peri {
namespace {

// Blocks made before their words are turned into numbers, so that both loops vectorise.
constexpr uint64_t kBatch = 64;
constexpr uint64_t kBatchElements = 4 * kBatch;
constexpr float kUnit = 0x1p-24f;

using Words = std::array<uint32_t, kBatch>;

struct Batch {
  std::array<Words, 4> words;  // words[i][b]: word i of block b
};

PERI_SCALAR void philox_rounds(uint32_t& c0, uint32_t& c1, uint32_t& c2, uint32_t& c3, uint32_t k0,
                               uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = uint64_t(0xD2511F53u) * c0;
    uint64_t p1 = uint64_t(0xCD9E8D57u) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

Batch make_batch(uint64_t seed, uint64_t first_block, uint32_t stream) {
  Batch batch;
  for (uint64_t b = 0; b < kBatch; ++b) {
    uint64_t block = first_block + b;
    uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32), c2 = stream, c3 = 0;
    philox_rounds(c0, c1, c2, c3, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    batch.words[0][b] = c0;
    batch.words[1][b] = c1;
    batch.words[2][b] = c2;
    batch.words[3][b] = c3;
  }
  return batch;
}

// Calls `convert(batch, numbers)` for batch after batch and copies the part that was asked for.
template <class Convert>
void fill(uint64_t seed, uint64_t first, uint32_t stream, std::span<float> out, Convert convert) {
  std::array<float, kBatchElements> numbers;
  uint64_t skip = first % 4;
  for (uint64_t done = 0; done < out.size();) {
    convert(make_batch(seed, (first + done) / 4, stream), numbers);
    uint64_t count = std::min<uint64_t>(kBatchElements - skip, out.size() - done);
    std::copy_n(numbers.begin() + skip, count, out.begin() + done);
    done += count;
    skip = 0;  // every batch after the first starts at a block
  }
}

float upper_bits(uint32_t word, uint32_t mask) {
  return static_cast<float>(static_cast<int32_t>(word >> 8 & mask));
}

}  // namespace

PhiloxBlock philox(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  auto [c0, c1, c2, c3] = counter;
  philox_rounds(c0, c1, c2, c3, key[0], key[1]);
  return {c0, c1, c2, c3};
}

void fill_uniform(uint64_t seed, uint64_t first, DType dtype, std::span<float> out) {
  uint32_t dropped = dtype == DType::bf16 ? 16 : dtype == DType::f16 ? 13 : 0;
  uint32_t mask = ~uint32_t(0) << dropped;
  fill(seed, first, 0, out, [mask](const Batch& batch, auto& numbers) {
    for (uint64_t b = 0; b < kBatch; ++b)
      for (int i = 0; i < 4; ++i) numbers[4 * b + i] = upper_bits(batch.words[i][b], mask) * kUnit;
  });
}

void fill_normal(uint64_t seed, uint64_t first, std::span<float> out) {
  fill(seed, first, 1, out, [](const Batch& batch, auto& numbers) {
    for (int pair = 0; pair < 2; ++pair) {
      const Words& radii = batch.words[2 * pair];
      const Words& angles = batch.words[2 * pair + 1];
      for (uint64_t b = 0; b < kBatch; ++b) {
        float radius = scalar::sqrt(-2.0f * scalar::log((upper_bits(radii[b], ~0u) + 1.0f) * kUnit));
        double quarters = static_cast<double>(upper_bits(angles[b], ~0u) * (4 * kUnit));
        numbers[4 * b + 2 * pair] = radius * scalar::sine_of_quarters(quarters, 1);
        numbers[4 * b + 2 * pair + 1] = radius * scalar::sine_of_quarters(quarters, 0);
      }
    }
  });
}

}  // namespace peri
