// Each float expression of the table against its double version within the row's tolerance, over samples of
// every binade, and the special cases, casts and integers by hand.
#include "core/types/scalar.hpp"

#include <catch2/catch.hpp>
#include <vector>

using namespace peri;
using namespace peri::scalar;

namespace {

constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

// Every 4099th float: all signs and exponents, NaNs, infinities and denormals, in about a million samples.
std::vector<float> samples() {
  std::vector<float> all = {0.0f,       -0.0f,    kInfinity, -kInfinity, kNaN, kDenormal,
                            -kDenormal, kLargest, -kLargest, 1.0f,       -1.0f};
  for (uint64_t u = 0; u < (uint64_t{1} << 32); u += 4099)
    all.push_back(std::bit_cast<float>(static_cast<uint32_t>(u)));
  return all;
}

// Whether `got` is the float for the exact `want` within a relative tolerance plus so many of the smallest
// denormal; an infinity or NaN must be met exactly.
bool matches(float got, double want, double tolerance, double denormals) {
  float rounded = static_cast<float>(want);
  if (std::isnan(rounded)) return std::isnan(got);
  if (std::isinf(rounded)) return got == rounded;
  return std::fabs(got - want) <= tolerance * std::fabs(want) + denormals * kDenormal;
}

template <Op op>
void check_against_double(double tolerance, double denormals = 2) {
  int wrong = 0;
  float first = 0;
  for (float x : samples()) {
    if (matches(evaluate<op, float>(x), evaluate<op, double>(x), tolerance, denormals)) continue;
    if (wrong++ == 0) first = x;
  }
  float got = evaluate<op, float>(first);
  double want = evaluate<op, double>(first);
  INFO("first at x = " << first << ": " << got << ", expected " << want);
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("float functions hold their tolerance over the whole range") {
  check_against_double<Op::exp>(0.3e-6);
  check_against_double<Op::log>(0.3e-6);
  check_against_double<Op::expm1>(0.6e-6);
  check_against_double<Op::log1p>(0.6e-6);
  check_against_double<Op::softplus>(0.8e-6);
  check_against_double<Op::gelu_tanh>(30e-6, 200);
  check_against_double<Op::sqrt>(0.06e-6);
  check_against_double<Op::sin>(0.3e-6);  // also far beyond 1e5
  check_against_double<Op::cos>(0.3e-6);
  check_against_double<Op::tanh>(0.3e-6);
  check_against_double<Op::erf>(0.3e-6);
  check_against_double<Op::sigmoid>(0.5e-6);
  check_against_double<Op::gelu>(0.5e-6, 200);  // x times a denormal is off by x / 2 of its units
  check_against_double<Op::rsqrt>(0.3e-6);
  check_against_double<Op::reciprocal>(0.06e-6);
}

TEST_CASE("float selections and roundings are exact") {
  check_against_double<Op::floor>(0, 0);
  check_against_double<Op::ceil>(0, 0);
  check_against_double<Op::round>(0, 0);
  check_against_double<Op::abs>(0, 0);
  check_against_double<Op::neg>(0, 0);
  check_against_double<Op::sign>(0, 0);
  check_against_double<Op::relu>(0, 0);
  check_against_double<Op::isnan>(0, 0);
  check_against_double<Op::logical_not>(0, 0);
  CHECK(round(2.5f) == 2.0f);
  CHECK(round(-3.5f) == -4.0f);
  CHECK(std::signbit(ceil(-0.5f)));
  CHECK(std::signbit(floor(-0.0f)));
}

TEST_CASE("exp and log at their edges") {
  CHECK(exp(89.0f) == kInfinity);
  CHECK(exp(-104.0f) == 0.0f);
  CHECK(exp(-103.0f) == kDenormal);  // 1.4e-45
  CHECK(exp(0.0f) == 1.0f);
  CHECK(log(0.0f) == -kInfinity);
  CHECK(log(1.0f) == 0.0f);
  CHECK(std::isnan(log(-1.0f)));
  CHECK(log(kDenormal) == Approx(-103.278929903431851).epsilon(1e-7));
}

TEST_CASE("pow follows C's pow") {
  const float values[] = {0.0f,      -0.0f,      1.0f,  -1.0f,       2.0f,       -2.0f,       3.0f,
                          -3.0f,     0.5f,       -0.5f, 1e30f,       -1e30f,     16777216.0f, 1e-45f,
                          kInfinity, -kInfinity, kNaN,  0.99999994f, 1.0000001f, 33.3f,       -7.7f};
  for (float x : values)
    for (float y : values) {
      double want = std::pow(static_cast<double>(x), static_cast<double>(y));
      INFO("pow(" << x << ", " << y << ") = " << pow(x, y) << ", expected " << want);
      CHECK(matches(pow(x, y), want, 0.1e-6, 1));
      if (!std::isnan(want)) CHECK(std::signbit(pow(x, y)) == std::signbit(want));
    }
  for (float x : samples()) {
    float y = 0.37f + static_cast<float>(bits(x) % 61);
    if (matches(pow(x, y), std::pow(static_cast<double>(x), static_cast<double>(y)), 0.1e-6, 1)) continue;
    FAIL_CHECK("pow(" << x << ", " << y << ") = " << pow(x, y));
    break;
  }
}

TEST_CASE("modulo has the sign of the divisor") {
  CHECK(modulo(7.5f, 2.0f) == 1.5f);
  CHECK(modulo(-7.5f, 2.0f) == 0.5f);
  CHECK(modulo(7.5f, -2.0f) == -0.5f);
  CHECK(modulo(-7.5f, -2.0f) == -1.5f);
  CHECK(modulo(100000.0f, 0.1f) == static_cast<float>(std::fmod(100000.0, static_cast<double>(0.1f))));
  CHECK(modulo(-3.0f, kInfinity) == kInfinity);
  CHECK(modulo(3.0f, kInfinity) == 3.0f);
  CHECK(std::isnan(modulo(3.0f, 0.0f)));
  CHECK(std::isnan(modulo(kInfinity, 3.0f)));
  CHECK(modulo(-7.5, 2.0) == 0.5);
  CHECK(modulo(7.5, -2.0) == -0.5);
}

TEST_CASE("maximum and minimum keep a NaN on either side") {
  CHECK(maximum(1.0f, 2.0f) == 2.0f);
  CHECK(minimum(1.0f, 2.0f) == 1.0f);
  CHECK(std::isnan(maximum(kNaN, 2.0f)));
  CHECK(std::isnan(maximum(2.0f, kNaN)));
  CHECK(std::isnan(minimum(kNaN, 2.0f)));
  CHECK(std::isnan(minimum(2.0f, kNaN)));
  CHECK(std::isnan(maximum(2.0, static_cast<double>(kNaN))));
}

TEST_CASE("int64 expressions wrap and divide downwards") {
  constexpr int64_t lowest = std::numeric_limits<int64_t>::min(),
                    highest = std::numeric_limits<int64_t>::max();
  CHECK(evaluate<Op::add, int64_t>(highest, 1) == lowest);
  CHECK(evaluate<Op::sub, int64_t>(lowest, 1) == highest);
  CHECK(evaluate<Op::mul, int64_t>(int64_t{1} << 62, 4) == 0);
  CHECK(evaluate<Op::neg, int64_t>(lowest) == lowest);
  CHECK(evaluate<Op::abs, int64_t>(lowest) == lowest);
  CHECK(evaluate<Op::floor_div, int64_t>(7, 2) == 3);
  CHECK(evaluate<Op::floor_div, int64_t>(-7, 2) == -4);
  CHECK(evaluate<Op::floor_div, int64_t>(7, -2) == -4);
  CHECK(evaluate<Op::floor_div, int64_t>(lowest, -1) == lowest);
  CHECK(evaluate<Op::floor_div, int64_t>(7, 0) == 0);
  CHECK(evaluate<Op::mod, int64_t>(-7, 3) == 2);
  CHECK(evaluate<Op::mod, int64_t>(7, -3) == -2);
  CHECK(evaluate<Op::mod, int64_t>(lowest, -1) == 0);
  CHECK(evaluate<Op::mod, int64_t>(7, 0) == 0);
}

TEST_CASE("comparisons and choices give 0 and 1") {
  CHECK(evaluate<Op::lt, float>(1, 2) == 1.0f);
  CHECK(evaluate<Op::ge, float>(1, 2) == 0.0f);
  CHECK(evaluate<Op::eq, float>(kNaN, kNaN) == 0.0f);
  CHECK(evaluate<Op::ne, float>(kNaN, kNaN) == 1.0f);
  CHECK(evaluate<Op::logical_and, int64_t>(2, 4) == 1);
  CHECK(evaluate<Op::logical_or, int64_t>(0, 0) == 0);
  CHECK(evaluate<Op::where, float>(1, 5, 6) == 5.0f);
  CHECK(evaluate<Op::where, float>(0, 5, 6) == 6.0f);
}

TEST_CASE("floats convert to integers by truncation and saturation") {
  CHECK(convert<int32_t>(-2.9f) == -2);
  CHECK(convert<int32_t>(2147483520.0f) == 2147483520);
  CHECK(convert<int32_t>(2147483648.0f) == 2147483647);
  CHECK(convert<int32_t>(-kInfinity) == std::numeric_limits<int32_t>::min());
  CHECK(convert<int32_t>(kNaN) == 0);
  CHECK(convert<uint8_t>(255.9f) == 255);
  CHECK(convert<uint8_t>(256.0f) == 255);
  CHECK(convert<uint8_t>(-1.0f) == 0);
  CHECK(convert<uint8_t>(kNaN) == 0);
  CHECK(convert<int64_t>(1e19) == std::numeric_limits<int64_t>::max());
  CHECK(convert<int64_t>(-1e19) == std::numeric_limits<int64_t>::min());
  CHECK(convert<int64_t>(-4611686018427387904.0) == -4611686018427387904);
  CHECK(convert<bool>(0.25f));
  CHECK(convert<bool>(kNaN));
  CHECK_FALSE(convert<bool>(-0.0f));
}

TEST_CASE("integers convert by wrapping") {
  CHECK(convert<int32_t>(int64_t{1} << 31) == std::numeric_limits<int32_t>::min());
  CHECK(convert<uint8_t>(int64_t{-1}) == 255);
  CHECK(convert<uint8_t>(int64_t{300}) == 44);
  CHECK(convert<bool>(int64_t{256}));
  CHECK(convert<float>(int64_t{16777217}) == 16777216.0f);
}
