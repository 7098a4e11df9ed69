// What the scalar expressions of ops.def mean: the vocabulary (add, exp, maximum, ...) for float, double and
// int64_t, `evaluate` made from the table, and the casts between element types. Host kernels and the
// reference interpreter both come from here.
//
//   float    what kernels compute in (16-bit floats are widened). Branch-free polynomials without calls or
//   tables, so that a
//            plain loop over them vectorises, and, as only IEEE operations are used and never a fused
//            multiply-add, gives the same bits for any vector width. Compile with -ffp-contract=off
//            -fno-math-errno -fno-trapping-math.
//   double   <cmath>: what the reference computes in.
//   int64_t  every integer type and bool; wraps modulo 2^64, and the caller wraps to the width of its type.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/ops/op.hpp"
#include "core/types/scalar_float.hpp"

namespace peri::scalar {

// Marks a comparison, which `evaluate` turns into T(0) or T(1).
struct Truth {
  bool holds;
  PERI_SCALAR explicit operator float() const { return select(holds, 1.0f, 0.0f); }
  PERI_SCALAR explicit operator double() const { return holds; }
  PERI_SCALAR explicit operator int64_t() const { return holds; }
};
PERI_SCALAR Truth truth(bool condition) {
  return {condition};
}

// float. The functions with polynomials are in scalar_float.hpp.
PERI_SCALAR float add(float x, float y) {
  return x + y;
}
PERI_SCALAR float subtract(float x, float y) {
  return x - y;
}
PERI_SCALAR float multiply(float x, float y) {
  return x * y;
}
PERI_SCALAR float negate(float x) {
  return -x;
}

// double
PERI_SCALAR double add(double x, double y) {
  return x + y;
}
PERI_SCALAR double subtract(double x, double y) {
  return x - y;
}
PERI_SCALAR double multiply(double x, double y) {
  return x * y;
}
PERI_SCALAR double negate(double x) {
  return -x;
}
PERI_SCALAR double absolute(double x) {
  return std::fabs(x);
}
PERI_SCALAR double maximum(double x, double y) {
  return x > y || x != x ? x : y;
}
PERI_SCALAR double minimum(double x, double y) {
  return x < y || x != x ? x : y;
}
PERI_SCALAR double sign(double x) {
  return x > 0 ? 1.0 : x < 0 ? -1.0 : x;
}
PERI_SCALAR double exp(double x) {
  return std::exp(x);
}
PERI_SCALAR double log(double x) {
  return std::log(x);
}
PERI_SCALAR double expm1(double x) {
  return std::expm1(x);
}
PERI_SCALAR double log1p(double x) {
  return std::log1p(x);
}
PERI_SCALAR double sqrt(double x) {
  return std::sqrt(x);
}
PERI_SCALAR double sin(double x) {
  return std::sin(x);
}
PERI_SCALAR double cos(double x) {
  return std::cos(x);
}
PERI_SCALAR double tanh(double x) {
  return std::tanh(x);
}
PERI_SCALAR double erf(double x) {
  return std::erf(x);
}
PERI_SCALAR double sigmoid(double x) {
  double e = std::exp(-std::fabs(x));
  return x >= 0 ? 1.0 / (1.0 + e) : e / (1.0 + e);
}
PERI_SCALAR double normal_cdf(double x) {
  return 0.5 * std::erfc(x * -0.70710678118654752440);
}
PERI_SCALAR double floor(double x) {
  return std::floor(x);
}
PERI_SCALAR double ceil(double x) {
  return std::ceil(x);
}
PERI_SCALAR double round(double x) {
  return std::nearbyint(x);
}
PERI_SCALAR double pow(double x, double y) {
  return std::pow(x, y);
}
PERI_SCALAR double modulo(double x, double y) {
  double r = std::fmod(x, y);
  return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

// int64_t: through uint64_t, where wrapping is defined.
PERI_SCALAR int64_t add(int64_t x, int64_t y) {
  return static_cast<int64_t>(uint64_t(x) + uint64_t(y));
}
PERI_SCALAR int64_t subtract(int64_t x, int64_t y) {
  return static_cast<int64_t>(uint64_t(x) - uint64_t(y));
}
PERI_SCALAR int64_t multiply(int64_t x, int64_t y) {
  return static_cast<int64_t>(uint64_t(x) * uint64_t(y));
}
PERI_SCALAR int64_t negate(int64_t x) {
  return static_cast<int64_t>(-uint64_t(x));
}
PERI_SCALAR int64_t absolute(int64_t x) {
  return x < 0 ? negate(x) : x;
}
PERI_SCALAR int64_t maximum(int64_t x, int64_t y) {
  return x > y ? x : y;
}
PERI_SCALAR int64_t minimum(int64_t x, int64_t y) {
  return x < y ? x : y;
}
PERI_SCALAR int64_t sign(int64_t x) {
  return (x > 0) - (x < 0);
}
PERI_SCALAR int64_t floor_divide(int64_t x, int64_t y) {
  if (y == 0) return 0;
  if (y == -1) return negate(x);  // the smallest int64 divided by -1 has no quotient and traps
  return x / y - (x % y != 0 && (x < 0) != (y < 0));
}
PERI_SCALAR int64_t modulo(int64_t x, int64_t y) {
  return y == 0 ? 0 : subtract(x, multiply(floor_divide(x, y), y));
}

// Whether the table allows pointwise `op` on the type that T computes for (int64_t: integers and bool).
template <Op op, class T>
constexpr bool defined_for() {
  enum { floats, numeric, integers, any, mixed };
#define PERI_POINTWISE(name, arity, attributes, dtypes, ...) \
  if (op == Op::name) return std::is_floating_point_v<T> ? dtypes != integers : dtypes != floats;
#include "core/ops/ops.def"
  return false;
}

// The table's expression of `op`; operands beyond its arity are ignored, comparisons give T(0) or T(1).
// `cast` is the identity: the change of type is `convert`, below.
template <Op op, class T>
  requires(defined_for<op, T>())
PERI_SCALAR T evaluate(T x, [[maybe_unused]] T y = T(0), [[maybe_unused]] T z = T(0)) {
#define PERI_POINTWISE(name, arity, attributes, dtypes, result, tolerance, expression, documentation) \
  if constexpr (op == Op::name) return static_cast<T>(expression);
#include "core/ops/ops.def"
}

// The cast of the table between the C++ types of elements and of computation: floats to integers truncate and
// saturate, NaN gives 0; integers wrap; anything to bool asks whether it is nonzero. float to a 16-bit float
// is f32_to_bf16 and f32_to_f16.
template <class To, class From>
PERI_SCALAR To convert(From x) {
  if constexpr (std::same_as<To, bool>) {
    return x != From(0);
  } else if constexpr (std::integral<To> && std::floating_point<From>) {
    // kAbove is the first value too large: a power of two, so exact in From, unlike the largest that fits.
    constexpr To kHalf = std::numeric_limits<To>::max() / 2 + 1;
    constexpr From kLowest = static_cast<From>(std::numeric_limits<To>::min());
    constexpr From kAbove = static_cast<From>(kHalf) * From(2);
    bool fits = x > kLowest && x < kAbove;
    To inside = static_cast<To>(select(fits, x, From(0)));
    To outside = x >= kAbove    ? std::numeric_limits<To>::max()
                 : x <= kLowest ? std::numeric_limits<To>::min()
                                : To(0);
    return fits ? inside : outside;
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace peri::scalar
