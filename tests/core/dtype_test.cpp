// Conversions of the 16-bit floats against IEEE 754's own definitions, and rounding to a dtype.
#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

#include "core/types/dtype.hpp"

using namespace peri;

namespace {

// binary16 by its definition: sign, 5 bits of exponent with bias 15, 10 bits of fraction.
double value_of_f16(uint16_t h) {
  const int exponent = h >> 10 & 31, fraction = h & 1023;
  const double magnitude = exponent == 0    ? std::ldexp(fraction, -24)
                           : exponent == 31 ? (fraction ? NAN : INFINITY)
                                            : std::ldexp(1024 + fraction, exponent - 25);
  return h & 0x8000 ? -magnitude : magnitude;
}

}  // namespace

TEST_CASE("names of dtypes and places read back") {
  for (int i = 0; i < kDTypeCount; ++i) {
    const DType t = static_cast<DType>(i);
    CHECK(parse_dtype(to_string(t)) == t);
  }
  CHECK(parse_dtype("f64").error().code == Code::NotFound);
  CHECK(parse_place("host") == Place::host);
  CHECK(!parse_place("gpu"));
}

TEST_CASE("every f16 has its IEEE value and survives the way to f32 and back") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t h = static_cast<uint16_t>(bits);
    const double expected = value_of_f16(h);
    const float f = f16_to_f32(h);
    if (std::isnan(expected)) {
      REQUIRE(std::isnan(f));
      REQUIRE(std::isnan(f16_to_f32(f32_to_f16(f))));
    } else {
      REQUIRE(static_cast<double>(f) == expected);
      REQUIRE(f32_to_f16(f) == h);
    }
  }
}

TEST_CASE("f32 to f16 rounds to nearest, halves to even") {
  // Between each two neighbours: the middle goes to the even one, a hair to either side goes there.
  for (uint16_t h = 0; h < 0x7BFF; ++h) {
    const float low = f16_to_f32(h), high = f16_to_f32(static_cast<uint16_t>(h + 1));
    const float middle = (low + high) / 2;
    REQUIRE(f32_to_f16(middle) == (h % 2 ? h + 1 : h));
    REQUIRE(f32_to_f16(std::nextafter(middle, 0.0f)) == h);
    REQUIRE(f32_to_f16(std::nextafter(middle, INFINITY)) == h + 1);
    REQUIRE(f32_to_f16(-middle) == (0x8000 | (h % 2 ? h + 1 : h)));
  }
  CHECK(f32_to_f16(65504.0f) == 0x7BFF);
  CHECK(f32_to_f16(65519.0f) == 0x7BFF);
  CHECK(f32_to_f16(65520.0f) == 0x7C00);
  CHECK(f32_to_f16(-INFINITY) == 0xFC00);
}

TEST_CASE("f32 to bf16 rounds to nearest, halves to even") {
  CHECK(f32_to_bf16(1.0f) == 0x3F80);
  CHECK(f32_to_bf16(1.0f + 1.0f / 256) == 0x3F80);  // halfway between 0x3F80 and 0x3F81
  CHECK(f32_to_bf16(1.0f + 3.0f / 256) == 0x3F82);  // halfway between 0x3F81 and 0x3F82
  CHECK(f32_to_bf16(std::nextafter(1.0f + 1.0f / 256, 2.0f)) == 0x3F81);
  CHECK(f32_to_bf16(std::numeric_limits<float>::max()) == 0x7F80);
  CHECK(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7F800001u)))));
}

TEST_CASE("storing rounds floats and wraps integers") {
  CHECK(round_to(DType::f32, 0.1) == 0.1);
  CHECK(round_to(DType::bf16, 0.1) == 0.10009765625);
  CHECK(round_to(DType::f16, 0.1) == 0.0999755859375);
  CHECK(round_to(DType::u8, 260) == 4);
  CHECK(round_to(DType::u8, -1) == 255);
  CHECK(round_to(DType::i32, 2147483648.0) == -2147483648.0);
  CHECK(round_to(DType::i32, -2147483649.0) == 2147483647.0);
  CHECK(round_to(DType::i64, std::ldexp(1.0, 63)) == -std::ldexp(1.0, 63));
  CHECK(round_to(DType::i32, NAN) == 0);
  CHECK(round_to(DType::boolean, -0.5) == 1);
}
