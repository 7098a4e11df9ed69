// The vocabulary of the table's scalar expressions (core/types/scalar.hpp) over intervals: what a pointwise
// op can give for operands of known ranges, and whether it should be applied to them at all. A function that
// the vocabulary lacks here does not build in value_range.cpp, where the expressions are expanded.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace peri::testing {

inline constexpr double kAwayFromZero = 0.05;

// How an expression is being evaluated. It is evaluated twice: conditions that the intervals leave open are
// taken to fail, then to hold.
struct Evaluation {
  bool open_conditions_hold = false;
  bool is_tame =
      true;  // false once a result could be huge, infinite or NaN, or could jump by a rounding error
};
inline thread_local Evaluation evaluation;
inline void require(bool condition) {
  evaluation.is_tame = evaluation.is_tame && condition;
}

struct Interval {
  double low, high;
  bool exact = true;  // every correct implementation has the same bits
  bool whole = true;  // of an integer dtype or bool

  Interval(double low_, double high_, bool exact_, bool whole_)
      : low(low_), high(high_), exact(exact_), whole(whole_) {}
  explicit Interval(double value) : low(value), high(value) {}

  double size() const { return std::max(std::fabs(low), std::fabs(high)); }
  bool is_away_from_zero() const { return low >= kAwayFromZero || high <= -kAwayFromZero; }
  // The error that the value may have: less than this for every float dtype.
  double error() const { return exact ? 0 : 0.02 * size(); }
};

// An interval made by arithmetic on `x` and `y`, from the values at its ends.
inline Interval made(std::initializer_list<double> ends, const Interval& x, const Interval& y) {
  const bool whole = x.whole && y.whole;
  return {std::min(ends), std::max(ends), whole, whole};
}
inline Interval made(double low, double high, const Interval& x) {
  return made({low, high}, x, x);
}
// One whose bits come from the operand's.
inline Interval kept(double low, double high, const Interval& x) {
  return {low, high, x.exact, x.whole};
}

inline Interval add(const Interval& x, const Interval& y) {
  return made({x.low + y.low, x.high + y.high}, x, y);
}
inline Interval subtract(const Interval& x, const Interval& y) {
  return made({x.low - y.high, x.high - y.low}, x, y);
}
inline Interval multiply(const Interval& x, const Interval& y) {
  return made({x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high}, x, y);
}
inline Interval operator+(const Interval& x, const Interval& y) {
  return add(x, y);
}
inline Interval operator-(const Interval& x, const Interval& y) {
  return subtract(x, y);
}
inline Interval operator*(const Interval& x, const Interval& y) {
  return multiply(x, y);
}
inline Interval operator/(const Interval& x, const Interval& y) {
  require(y.is_away_from_zero());
  return made({x.low / y.low, x.low / y.high, x.high / y.low, x.high / y.high}, x, y);
}
inline Interval negate(const Interval& x) {
  return kept(-x.high, -x.low, x);
}
inline Interval absolute(const Interval& x) {
  return kept(std::max({0.0, x.low, -x.high}), x.size(), x);
}
inline Interval maximum(const Interval& x, const Interval& y) {
  return {std::max(x.low, y.low), std::max(x.high, y.high), x.exact && y.exact, x.whole && y.whole};
}
inline Interval minimum(const Interval& x, const Interval& y) {
  return {std::min(x.low, y.low), std::min(x.high, y.high), x.exact && y.exact, x.whole && y.whole};
}

// Functions that rise.
inline Interval exp(const Interval& x) {
  require(x.high <= 4);
  return made(std::exp(x.low), std::exp(x.high), x);
}
inline Interval log(const Interval& x) {
  require(x.low >= kAwayFromZero);
  return made(std::log(x.low), std::log(x.high), x);
}
inline Interval expm1(const Interval& x) {
  require(x.high <= 4);
  return made(std::expm1(x.low), std::expm1(x.high), x);
}
inline Interval log1p(const Interval& x) {
  require(x.low >= kAwayFromZero - 1);
  return made(std::log1p(x.low), std::log1p(x.high), x);
}
inline Interval sqrt(const Interval& x) {
  require(x.low >= kAwayFromZero);
  return made(std::sqrt(x.low), std::sqrt(x.high), x);
}
inline Interval tanh(const Interval& x) {
  return made(std::tanh(x.low), std::tanh(x.high), x);
}
inline Interval erf(const Interval& x) {
  return made(std::erf(x.low), std::erf(x.high), x);
}
inline Interval sigmoid(const Interval& x) {
  return made(1 / (1 + std::exp(-x.low)), 1 / (1 + std::exp(-x.high)), x);
}
inline Interval normal_cdf(const Interval& x) {
  return made(0.5 * std::erfc(-x.low / std::sqrt(2)), 0.5 * std::erfc(-x.high / std::sqrt(2)), x);
}

// Beyond 20 radians an error of the operand is all there is.
inline Interval sin(const Interval& x) {
  require(x.size() <= 20);
  return made(-1, 1, x);
}
inline Interval cos(const Interval& x) {
  require(x.size() <= 20);
  return made(-1, 1, x);
}
inline Interval pow(const Interval& x, const Interval& y) {
  require(x.low >= kAwayFromZero && x.high <= 8 && y.size() <= 3);
  return made(
      {std::pow(x.low, y.low), std::pow(x.low, y.high), std::pow(x.high, y.low), std::pow(x.high, y.high)}, x,
      y);
}

// Functions that jump.
inline Interval stepped(double low, double high, const Interval& x) {
  require(x.exact || low == high);
  return kept(low, high, x);
}
inline Interval floor(const Interval& x) {
  return stepped(std::floor(x.low - x.error()), std::floor(x.high + x.error()), x);
}
inline Interval ceil(const Interval& x) {
  return stepped(std::ceil(x.low - x.error()), std::ceil(x.high + x.error()), x);
}
inline Interval round(const Interval& x) {
  return stepped(std::nearbyint(x.low - x.error()), std::nearbyint(x.high + x.error()), x);
}
inline Interval sign(const Interval& x) {
  auto of = [](double value) { return value > 0 ? 1.0 : value < 0 ? -1.0 : 0.0; };
  return stepped(of(x.low - x.error()), of(x.high + x.error()), x);
}
inline Interval floor_divide(const Interval& x, const Interval& y) {
  return made({-x.size() - 1, x.size() + 1}, x, y);
}
inline Interval modulo(const Interval& x, const Interval& y) {
  const bool whole = x.whole && y.whole;
  require(whole || (x.exact && y.exact && y.is_away_from_zero()));
  const double last = whole ? 1 : 0;  // a whole divisor is not reached
  return made({std::min(y.low + last, 0.0), std::max(y.high - last, 0.0)}, x, y);
}

// A comparison of values that differ by `low` to `high`. One that a rounding error could decide is not tame.
struct Condition {
  bool can_hold, can_fail, exact;
  operator bool() const {  // NOLINT: `?:` and && convert it
    require(exact || can_hold != can_fail);
    return can_hold != can_fail ? can_hold : evaluation.open_conditions_hold;
  }
};
template <class Holds>
Condition compared(const Interval& x, const Interval& y, Holds holds) {
  const double error = x.error() + y.error();
  const double low = x.low - y.high - error, high = x.high - y.low + error;
  // The sign of the difference is all that a comparison asks for.
  const bool has[] = {low < 0, low <= 0 && high >= 0, high > 0};
  Condition result{false, false, x.exact && y.exact};
  for (int sign = -1; sign <= 1; ++sign)
    if (has[sign + 1]) (holds(sign) ? result.can_hold : result.can_fail) = true;
  return result;
}
inline Condition operator==(const Interval& x, const Interval& y) {
  return compared(x, y, [](int sign) { return sign == 0; });
}
inline Condition operator!=(const Interval& x, const Interval& y) {
  return compared(x, y, [](int sign) { return sign != 0; });
}
inline Condition operator<(const Interval& x, const Interval& y) {
  return compared(x, y, [](int sign) { return sign < 0; });
}
inline Condition operator<=(const Interval& x, const Interval& y) {
  return compared(x, y, [](int sign) { return sign <= 0; });
}
inline Condition operator>(const Interval& x, const Interval& y) {
  return compared(x, y, [](int sign) { return sign > 0; });
}
inline Condition operator>=(const Interval& x, const Interval& y) {
  return compared(x, y, [](int sign) { return sign >= 0; });
}
inline Interval truth(bool condition) {
  return Interval(condition ? 1.0 : 0.0);
}

}  // namespace peri::testing
