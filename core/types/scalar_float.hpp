// The float functions of core/types/scalar.hpp, written so that loops over them vectorise: no branch, call or
// table. Choices are made with bit masks (`select`), which no pass can turn back into control flow; rounding
// adds and subtracts 1.5 * 2^23, since the baseline x86-64 has no rounding instruction.
//
// Polynomials: exp, log, tanh, sin and cos are those of Cephes (S. Moshier, netlib.org/cephes, single
// precision); erf is N. Juffa's. tests/core/scalar_test.cpp holds each to the tolerance of its row over the
// whole range of float.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

// A loop vectorises only if everything in it is inlined.
#define PERI_SCALAR [[gnu::always_inline]] inline

namespace peri::scalar {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

PERI_SCALAR uint32_t bits(float x) {
  return std::bit_cast<uint32_t>(x);
}
PERI_SCALAR uint64_t bits(double x) {
  return std::bit_cast<uint64_t>(x);
}

PERI_SCALAR float select(bool condition, float yes, float no) {
  uint32_t mask = condition ? ~uint32_t(0) : uint32_t(0);
  return std::bit_cast<float>((bits(yes) & mask) | (bits(no) & ~mask));
}
PERI_SCALAR double select(bool condition, double yes, double no) {
  uint64_t mask = condition ? ~uint64_t(0) : uint64_t(0);
  return std::bit_cast<double>((bits(yes) & mask) | (bits(no) & ~mask));
}

PERI_SCALAR float absolute(float x) {
  return std::bit_cast<float>(bits(x) & 0x7FFFFFFFu);
}
PERI_SCALAR double magnitude(double x) {
  return std::bit_cast<double>(bits(x) & 0x7FFFFFFFFFFFFFFFull);
}
PERI_SCALAR float with_sign_of(float size, float x) {
  return std::bit_cast<float>((bits(size) & 0x7FFFFFFFu) | (bits(x) & 0x80000000u));
}
PERI_SCALAR float maximum(float x, float y) {
  return select(x > y, x, select(x != x, x, y));
}
PERI_SCALAR float minimum(float x, float y) {
  return select(x < y, x, select(x != x, x, y));
}
PERI_SCALAR float sign(float x) {
  return select(x > 0.0f, 1.0f, select(x < 0.0f, -1.0f, x));
}
PERI_SCALAR float sqrt(float x) {
  return std::sqrt(x);
}  // an instruction on every x86-64, correctly rounded

// 1.5 * 2^23 and 1.5 * 2^52: adding one leaves the nearest integer (halves to even) in the low bits of the
// sum.
inline constexpr float kRounder = 12582912.0f;
inline constexpr double kRounderDouble = 6755399441055744.0;

PERI_SCALAR float round(float x) {
  float size = absolute(x);
  return select(size < 8388608.0f, with_sign_of((size + 8388608.0f) - 8388608.0f, x), x);
}
PERI_SCALAR float floor(float x) {
  float r = round(x);
  return select(r > x, r - 1.0f, r);
}
PERI_SCALAR float ceil(float x) {
  float r = round(x);
  return with_sign_of(select(r < x, r + 1.0f, r), x);
}

// The smaller and the larger of a limit and x, in one instruction; a NaN stays.
PERI_SCALAR float at_most(float limit, float x) {
  return limit < x ? limit : x;
}
PERI_SCALAR float at_least(float limit, float x) {
  return limit > x ? limit : x;
}

// exp(r) for |r| <= ln(2) / 2, to 3e-9.
PERI_SCALAR float exp_near_zero(float r) {
  float p = 1.381422160e-3f;
  p = p * r + 8.368899114e-3f;
  p = p * r + 4.166840389e-2f;
  p = p * r + 1.666651964e-1f;
  p = p * r + 4.999999404e-1f;
  return (p * r) * r + r + 1.0f;
}
// y * 2^n, where shifted = kRounder + n, |n| <= 250. The power is two factors, so that neither overflows and
// a denormal result is rounded once.
PERI_SCALAR float times_power_of_two(float y, float shifted) {
  uint32_t n = bits(shifted), half = n >> 1;  // the bits of kRounder leave both when they are shifted
  return y * std::bit_cast<float>((half << 23) + 0x3F800000u) *
         std::bit_cast<float>(((n - half) << 23) + 0x3F800000u);
}

// exp(x) = 2^n exp(r).
PERI_SCALAR float exp(float x) {
  float c = at_least(-104.0f, at_most(89.0f, x));  // beyond: 0 and infinity
  float shifted = c * 1.44269504088896341f + kRounder;
  float whole = shifted - kRounder;
  float r = (c - whole * 0.693359375f) - whole * -2.12194440e-4f;
  return times_power_of_two(exp_near_zero(r), shifted);
}
// exp(x) for |x| < 87, where one factor does: no NaN of x is lost.
PERI_SCALAR float exp_moderate(float x) {
  float shifted = x * 1.44269504088896341f + kRounder;
  float whole = shifted - kRounder;
  float r = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
  return exp_near_zero(r) * std::bit_cast<float>((bits(shifted) << 23) + 0x3F800000u);
}
// exp(a + b) for -104 <= a <= 0 and |b| < 0.1, without the rounding of a + b.
PERI_SCALAR float exp_of_sum(float a, float b) {
  float shifted = (a + b) * 1.44269504088896341f + kRounder;
  float whole = shifted - kRounder;
  float r = ((a - whole * 0.693359375f) - whole * -2.12194440e-4f) + b;
  return times_power_of_two(exp_near_zero(r), shifted);
}

// log(x) = e ln(2) + log(m), sqrt(1/2) <= m < sqrt(2).
PERI_SCALAR float log(float x) {
  bool denormal = x < 1.17549435e-38f;
  float scaled = select(denormal, x * 8388608.0f, x);
  uint32_t offset = bits(scaled) - 0x3F3504F3u;  // sqrt(1/2)
  int32_t exponent = static_cast<int32_t>(offset) >> 23;
  float m = std::bit_cast<float>((offset & 0x7FFFFFu) + 0x3F3504F3u);
  float e = static_cast<float>(exponent) - select(denormal, 23.0f, 0.0f);
  float r = m - 1.0f;
  float s = r * r;
  float p = 7.0376836292e-2f;
  p = p * r - 1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r - 1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r - 1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r - 2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  float y = p * r * s + e * -2.12194440e-4f - 0.5f * s;
  float result = (r + y) + e * 0.693359375f;
  result = select(x == 0.0f, -kInfinity, result);
  result = select(x < 0.0f, kNaN, result);
  return select(x < kInfinity, result, x);  // infinity and NaN are their own logarithms
}

// log(1 + x) = log(u) * x / (u - 1) for u = 1 + x rounded: the quotient undoes the rounding (W. Kahan).
PERI_SCALAR float log1p(float x) {
  const float u = 1.0f + x, rounded = u - 1.0f;
  const float quotient = select(u < kInfinity, x / rounded, 1.0f);
  return select(rounded == 0.0f, x, log(u) * quotient);
}

// exp(x) - 1 = (u - 1) * x / log(u) for u = exp(x) rounded, in the same way.
PERI_SCALAR float expm1(float x) {
  const float u = exp(x), less = u - 1.0f;
  const float corrected = select(less > -1.0f && u < kInfinity, less * (x / log(u)), less);
  return select(less == 0.0f, x, corrected);
}

// sin(pi/2 * (rest + q)) for |rest| < 0.51.
PERI_SCALAR float sine_of_rest(double rest, uint32_t q) {
  float r = static_cast<float>(rest * 1.57079632679489661923);
  float s = r * r;
  float sine = -1.9515295891e-4f;
  sine = sine * s + 8.3321608736e-3f;
  sine = sine * s - 1.6666654611e-1f;
  sine = sine * s * r + r;
  float cosine = 2.443315711809948e-5f;
  cosine = cosine * s - 1.388731625493765e-3f;
  cosine = cosine * s + 4.166664568298827e-2f;
  cosine = cosine * s * s - 0.5f * s + 1.0f;
  float y = select((q & 1u) != 0, cosine, sine);
  return std::bit_cast<float>(bits(y) ^ ((q & 2u) << 30));
}

// sin(pi/2 * (t + quadrant)) for |t| < 2^20: quadrant 0 gives the sine of t quarter turns, 1 the cosine.
PERI_SCALAR float sine_of_quarters(double t, uint32_t quadrant) {
  double shifted = t + kRounderDouble;
  return sine_of_rest(t - (shifted - kRounderDouble), static_cast<uint32_t>(bits(shifted)) + quadrant);
}

// Quarter turns reduced by whole turns, to less than 2 or so.
PERI_SCALAR double within_one_turn(double quarters) {
  return quarters - ((quarters * 0.25 + kRounderDouble) - kRounderDouble) * 4.0;
}

// x times `part` modulo 4. The product of two 24-bit numbers is exact in double, and one of 2^53 or more is a
// multiple of 4, as its last bit weighs at least 2^5. x * 0 there keeps the NaN of an infinite x.
PERI_SCALAR double part_of_quarters(double x, double part) {
  double p = x * part;
  return select(magnitude(p) < 9007199254740992.0, within_one_turn(p), x * 0.0);
}
// x in quarter turns modulo 4 (within 16 of 0), for every float: 2/pi is cut into 24-bit parts.
PERI_SCALAR double quarters(float x) {
  double sum = 0;
  sum += part_of_quarters(x, 0xA2F983p-24);
  sum += part_of_quarters(x, 0x6E4E44p-48);
  sum += part_of_quarters(x, 0x1529FCp-72);
  sum += part_of_quarters(x, 0x2757D1p-96);
  sum += part_of_quarters(x, 0xF534DDp-120);
  sum += part_of_quarters(x, 0xC0DB62p-144);
  sum += part_of_quarters(x, 0x95993Cp-168);
  sum += part_of_quarters(x, 0x439041p-192);
  return sum;
}

// The same without those parts for |x| <= kUsualAngle, which is as exact: 2/pi is cut into two parts, the
// first of 29 bits, so that its product with x is exact in double.
inline constexpr float kUsualAngle = 131072.0f;
PERI_SCALAR float sine_of_usual(float x, uint32_t quadrant) {
  double p = x * 0x1.45f306dp-1;
  double whole = (p + kRounderDouble) - kRounderDouble;
  uint32_t q = static_cast<uint32_t>(bits(p + kRounderDouble)) + quadrant;
  return sine_of_rest((p - whole) + x * 0x1.9391054a7f09dp-30, q);
}
PERI_SCALAR float sine(float x, uint32_t quadrant) {
  return select(absolute(x) <= kUsualAngle, sine_of_usual(x, quadrant),
                sine_of_quarters(quarters(x), quadrant));
}
PERI_SCALAR float sin(float x) {
  return sine(x, 0);
}
PERI_SCALAR float cos(float x) {
  return sine(x, 1);
}

PERI_SCALAR float tanh(float x) {
  float size = absolute(x);
  float s = x * x;
  float p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  float near = p * s * x + x;
  float capped = at_most(20.0f, size);  // 1 from there on
  float far = with_sign_of(1.0f - 2.0f / (exp_moderate(capped + capped) + 1.0f), x);
  return select(size < 0.625f, near, far);
}

PERI_SCALAR float sigmoid(float x) {
  float e = exp(-absolute(x));  // at most 1: neither branch overflows, and a small result keeps its precision
  float s = 1.0f / (1.0f + e);
  return select(x < 0.0f, e * s, s);
}

PERI_SCALAR float erf(float x) {
  float t = at_most(4.0f, absolute(x));  // 1 from there on
  float s = t * t;
  float r = -1.72853470e-5f * t + 3.83197126e-4f;
  float u = -3.88396438e-3f * t + 2.42546219e-2f;
  r = r * s + u;
  r = r * t - 1.06777877e-1f;
  r = r * t - 6.34846687e-1f;
  r = r * t - 1.28717512e-1f;
  r = r * t - t;
  float far = with_sign_of(1.0f - exp_moderate(r), x);
  float p = -5.96761703e-4f;
  p = p * s + 4.99119423e-3f;
  p = p * s - 2.67681349e-2f;
  p = p * s + 1.12819925e-1f;
  p = p * s - 3.76125336e-1f;
  p = p * s + 1.28379166e-1f;
  float near = p * x + x;
  return select(t > 0.927734375f, far, near);
}

// x - floor(x / y) * y in double: exact while |x / y| < 2^29; for larger quotients the remainder of the
// rounded quotient.
PERI_SCALAR float modulo(float x, float y) {
  double dx = x, dy = y;
  double quotient = dx / dy;
  double whole = (quotient + kRounderDouble) - kRounderDouble;
  whole = select(whole > quotient, whole - 1.0, whole);
  whole = select(magnitude(quotient) < 2251799813685248.0, whole, quotient);
  float r = static_cast<float>(dx - whole * dy);
  float of_infinity = select((x < 0.0f) != (y < 0.0f) && x != 0.0f, y, x);
  return select(absolute(y) == kInfinity && absolute(x) < kInfinity, of_infinity, r);
}

// log2 of a positive double: exponent plus the series of atanh in s = (m - 1) / (m + 1), |s| < 0.172, to
// s^11: 1e-10.
PERI_SCALAR double log2_positive(double x) {
  uint64_t offset = bits(x) - 0x3FE6A09E667F3BCDull;  // sqrt(1/2)
  double m = std::bit_cast<double>((offset & 0xFFFFFFFFFFFFFull) + 0x3FE6A09E667F3BCDull);
  // Before AVX-512 no instruction converts int64 to double: the integer goes in the low bits of 2^52.
  double e = std::bit_cast<double>(((offset >> 52) ^ 0x800u) | 0x4330000000000000ull) -
             (4503599627370496.0 + 2048.0);
  double s = (m - 1.0) / (m + 1.0);
  double q = s * s;
  double p = 2.0 / 11;
  p = p * q + 2.0 / 9;
  p = p * q + 2.0 / 7;
  p = p * q + 2.0 / 5;
  p = p * q + 2.0 / 3;
  p = p * q + 2.0;
  return e + p * s * 1.44269504088896340736;
}

// 2^t by the series of exp to r^8 (3e-10), for |t| <= 1000.
PERI_SCALAR double exp2_moderate(double t) {
  double shifted = t + kRounderDouble;
  double r = (t - (shifted - kRounderDouble)) * 0.69314718055994530942;
  double p = 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return p * std::bit_cast<double>((bits(shifted) + 1023u) << 52);
}

// |x|^y = 2^(y log2|x|) in double, with the special cases of C's pow.
PERI_SCALAR float pow(float x, float y) {
  double size = absolute(x);
  double exponent = log2_positive(size);
  exponent = select(size == 0.0, -std::numeric_limits<double>::infinity(), exponent);
  exponent = select(size < kInfinity, exponent, size);  // infinity, or NaN
  double t = y * exponent;
  t = select(size == 1.0 && y == y, 0.0, t);  // also for an infinite y
  t = select(t > 400.0, 400.0, select(t < -400.0, -400.0, t));
  float r = static_cast<float>(exp2_moderate(t));

  bool whole = round(y) == y;
  bool odd = whole && round(y * 0.5f) != y * 0.5f;
  uint32_t negative = bits(x) & 0x80000000u;
  r = std::bit_cast<float>(bits(r) ^ (odd ? negative : 0u));
  r = select(x < 0.0f && x > -kInfinity && !whole, kNaN, r);
  return select(y == 0.0f || x == 1.0f, 1.0f, r);
}

// The normal distribution function, erfc(-x / sqrt(2)) / 2. The tail is exp(-z^2 / 2) times a function of
// t = 1 / (1 + 0.35 z), a polynomial to 6e-8: 1 + erf(...) would lose all digits of a small result. z^2 is
// hi^2, exact as hi has 12 bits, and a small rest: rounded, it would lose those of its exponential.
PERI_SCALAR float normal_cdf(float x) {
  float z = at_most(14.5f, absolute(x));  // 6e-48 there, 0 in float
  float t = 1.0f / (1.0f + 0.35f * z);
  float p = -2.915787324e-2f;
  p = p * t + 1.440308690e-1f;
  p = p * t - 2.558389306e-1f;
  p = p * t + 1.593196094e-1f;
  p = p * t - 2.321228944e-2f;
  p = p * t + 1.055524796e-1f;
  p = p * t + 1.198212951e-1f;
  p = p * t + 1.398635060e-1f;
  p = p * t + 1.396213025e-1f;
  float hi = std::bit_cast<float>(bits(z) & 0xFFFFF000u);
  float tail = exp_of_sum(-0.5f * (hi * hi), 0.5f * (hi - z) * (hi + z)) * (p * t);
  return select(x < 0.0f, tail, 1.0f - tail);
}

}  // namespace peri::scalar
