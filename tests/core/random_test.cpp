#include "core/types/random.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

using namespace peri;

TEST_CASE("philox gives the published known answers") {
  // kat_vectors of Random123 (D. E. Shaw Research), philox4x32 10.
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t ones = 0xffffffff;
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) ==
        PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("uniform numbers are the upper 24 bits of the words") {
  std::vector<float> got(6);
  fill_uniform(0, 0, DType::f32, got);
  const uint32_t words[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  for (int i = 0; i < 4; ++i) CHECK(got[i] == static_cast<float>(words[i] >> 8) / 16777216.0f);
  CHECK(got[4] == static_cast<float>(philox({1, 0, 0, 0}, {0, 0})[0] >> 8) / 16777216.0f);
}

TEST_CASE("the key holds 64 bits of seed and the counter 64 bits of block") {
  std::vector<float> got(1);
  fill_uniform(0x123456789ABCDEF0, (uint64_t{7} << 34) + 2, DType::f32, got);
  uint32_t word = philox({0, 7, 0, 0}, {0x9ABCDEF0, 0x12345678})[2];
  // Element 7 * 2^34 + 2 lies in block 7 * 2^32, word 2.
  CHECK(got[0] == static_cast<float>(word >> 8) / 16777216.0f);
}

TEST_CASE("any part of the sequence equals that part of the whole") {
  std::vector<float> whole(1000), normal(1000);
  fill_uniform(5, 0, DType::f32, whole);
  fill_normal(5, 0, normal);
  for (uint64_t first : {0, 1, 3, 255, 256, 257, 511})
    for (size_t count : {0, 1, 5, 256, 259, 480}) {
      std::vector<float> part(count);
      fill_uniform(5, first, DType::f32, part);
      CHECK(std::equal(part.begin(), part.end(), whole.begin() + first));
      fill_normal(5, first, part);
      CHECK(std::equal(part.begin(), part.end(), normal.begin() + first));
    }
}

TEST_CASE("uniform numbers of 16-bit floats are representable and stay below 1") {
  std::vector<float> full(100000), bf16(100000), f16(100000);
  fill_uniform(9, 0, DType::f32, full);
  fill_uniform(9, 0, DType::bf16, bf16);
  fill_uniform(9, 0, DType::f16, f16);
  bool same = true;
  for (size_t i = 0; i < full.size(); ++i)
    same = same && bf16[i] == std::floor(full[i] * 256) / 256 &&
           f16[i] == std::floor(full[i] * 2048) / 2048 && full[i] < 1;
  CHECK(same);
}

TEST_CASE("normal numbers follow Box-Muller and the normal distribution") {
  constexpr double turn = 6.283185307179586;
  PhiloxBlock words = philox({0, 0, 1, 0}, {3, 0});
  std::vector<float> four(4);
  fill_normal(3, 0, four);
  for (int pair = 0; pair < 2; ++pair) {
    double radius = std::sqrt(-2 * std::log(((words[2 * pair] >> 8) + 1) / 16777216.0));
    double angle = turn * (words[2 * pair + 1] >> 8) / 16777216.0;
    CHECK(std::fabs(four[2 * pair] - radius * std::cos(angle)) < 2e-6);
    CHECK(std::fabs(four[2 * pair + 1] - radius * std::sin(angle)) < 2e-6);
  }

  std::vector<float> many(1 << 20);
  fill_normal(1, 0, many);
  double mean = 0, square = 0, cube = 0, fourth = 0;
  for (float x : many) {
    mean += x, square += x * x, cube += x * x * x, fourth += x * x * x * x;
  }
  double n = static_cast<double>(many.size());
  CHECK(std::fabs(mean / n) < 0.005);        // five standard errors: 5 / sqrt(n)
  CHECK(std::fabs(square / n - 1) < 0.007);  // 5 sqrt(2 / n)
  CHECK(std::fabs(cube / n) < 0.02);         // 5 sqrt(15 / n)
  CHECK(std::fabs(fourth / n - 3) < 0.05);   // 5 sqrt(96 / n)
}
