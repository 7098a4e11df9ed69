// Interval arithmetic over the op table.
#include "tests/support/value_range.hpp"

#include <limits>

namespace peri::testing {
namespace {

constexpr double kLargestFloat = 2000;    // so that an f16 stays far from its 65504
constexpr double kLargestInteger = 1e15;  // so that an i64 stays exact in the double that tracks it
constexpr double kAwayFromZero = 0.05;

Range hull(std::initializer_list<double> values) {
  return {std::min(values), std::max(values)};
}
bool away_from_zero(Range x) {
  return x.low >= kAwayFromZero || x.high <= -kAwayFromZero;
}
Range squared(Range x) {
  return {x.low <= 0 && x.high >= 0 ? 0 : hull({x.low * x.low, x.high * x.high}).low, x.size() * x.size()};
}
Range symmetric(double size) {
  return {-size, size};
}

Range whole_range(DType t) {
  switch (t) {
    case DType::i32:
      return {-2147483648.0, 2147483647.0};
    case DType::u8:
      return {0, 255};
    case DType::boolean:
      return {0, 1};
    case DType::i64:
      return symmetric(kLargestInteger);
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return symmetric(kLargestFloat);
  }
  return {0, 0};
}

// How many elements are reduced to one; 0 if an element would come of none.
int64_t reduced_count(const TensorType& from, const Attributes& attributes) {
  Ints dims = attributes.has("dim") ? Ints{attributes.get<int64_t>("dim")} : attributes.get<Ints>("dims");
  int64_t count = 1;
  for (int64_t d : dims) count *= from.shape[static_cast<int>(d)];
  return dims.empty() ? numel(from.shape) : count;
}

std::optional<Range> cast_range(const Item& x, DType to) {
  if (is_float(x.type.dtype) && !is_float(to)) {
    if (!x.exact) return std::nullopt;
    Range limits = whole_range(to);
    if (to == DType::boolean) return limits;
    return Range{std::clamp(x.range.low, limits.low, limits.high),
                 std::clamp(x.range.high, limits.low, limits.high)};
  }
  return to == DType::boolean ? Range{0, 1} : x.range;
}

// Before the limits of the result's dtype are applied.
std::optional<Range> unlimited(Op op, std::span<const Item> operands, const Attributes& attributes,
                               const TensorType& result) {
  Range x = operands.empty() ? Range{0, 0} : operands[0].range;
  Range y = operands.size() > 1 ? operands[1].range : x;
  bool exact = std::all_of(operands.begin(), operands.end(), [](const Item& item) { return item.exact; });
  auto if_exact = [&](Range range) { return exact ? std::optional(range) : std::nullopt; };
  switch (op) {
    case Op::input:
    case Op::constant:
      return argument_range(result.dtype);
    case Op::full: {
      double value = attributes.get<double>("value");
      return Range{value, value};
    }
    case Op::arange: {
      double start = attributes.get<double>("start"), step = attributes.get<double>("step");
      return hull({start, start + step * static_cast<double>(attributes.get<int64_t>("count"))});
    }
    case Op::rand:
      return Range{0, 1};
    case Op::randn:
      return symmetric(6);

    case Op::neg:
      return Range{-x.high, -x.low};
    case Op::abs:
      return Range{std::max({0.0, x.low, -x.high}), x.size()};
    case Op::exp:
      if (x.high > 4) return std::nullopt;
      return Range{std::exp(x.low), std::exp(x.high)};
    case Op::log:
      if (x.low < kAwayFromZero) return std::nullopt;
      return Range{std::log(x.low), std::log(x.high)};
    case Op::sqrt:
      if (x.low < kAwayFromZero) return std::nullopt;
      return Range{std::sqrt(x.low), std::sqrt(x.high)};
    case Op::rsqrt:
      if (x.low < kAwayFromZero) return std::nullopt;
      return Range{1 / std::sqrt(x.high), 1 / std::sqrt(x.low)};
    case Op::reciprocal:
      if (!away_from_zero(x)) return std::nullopt;
      return Range{1 / x.high, 1 / x.low};
    case Op::square:
      return squared(x);
    case Op::sin:
    case Op::cos:
      if (x.size() > 20) return std::nullopt;  // beyond, an error of the operand is all there is
      return symmetric(1);
    case Op::tanh:
    case Op::erf:
      return symmetric(1);
    case Op::sigmoid:
      return Range{0, 1};
    case Op::relu:
      return Range{std::max(x.low, 0.0), std::max(x.high, 0.0)};
    case Op::gelu:
    case Op::silu:
      return Range{-0.3, std::max(x.high, 0.0)};
    case Op::floor:
    case Op::ceil:
    case Op::round:
      return if_exact({std::floor(x.low), std::ceil(x.high)});
    case Op::sign:
      return if_exact(symmetric(1));
    case Op::isnan:
      return Range{0, 1};
    case Op::cast:
      return cast_range(operands[0], result.dtype);

    case Op::add:
      return Range{x.low + y.low, x.high + y.high};
    case Op::sub:
      return Range{x.low - y.high, x.high - y.low};
    case Op::mul:
      return hull({x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high});
    case Op::div:
      if (!away_from_zero(y)) return std::nullopt;
      return hull({x.low / y.low, x.low / y.high, x.high / y.low, x.high / y.high});
    case Op::floor_div:
      return symmetric(x.size() + 1);
    case Op::mod:
      if (is_float(result.dtype) && (!exact || !away_from_zero(y))) return std::nullopt;
      return Range{std::min(y.low, 0.0), std::max(y.high, 0.0)};
    case Op::pow:
      if (x.low < kAwayFromZero || x.high > 8 || y.size() > 3) return std::nullopt;
      return hull({std::pow(x.low, y.low), std::pow(x.low, y.high), std::pow(x.high, y.low),
                   std::pow(x.high, y.high)});
    case Op::maximum:
      return Range{std::max(x.low, y.low), std::max(x.high, y.high)};
    case Op::minimum:
      return Range{std::min(x.low, y.low), std::min(x.high, y.high)};
    case Op::eq:
    case Op::ne:
    case Op::lt:
    case Op::le:
    case Op::gt:
    case Op::ge:
    case Op::logical_not:
    case Op::logical_and:
    case Op::logical_or:
      return if_exact({0, 1});
    case Op::where:
      return hull({y.low, y.high, operands[2].range.low, operands[2].range.high});

    case Op::sum: {
      auto count = static_cast<double>(reduced_count(operands[0].type, attributes));
      return hull({0, x.low * count, x.high * count});
    }
    case Op::prod: {
      auto count = static_cast<double>(reduced_count(operands[0].type, attributes));
      return symmetric(std::pow(std::max(x.size(), 1.0), count));
    }
    case Op::mean:
    case Op::max:
    case Op::min:
      if (reduced_count(operands[0].type, attributes) == 0) return std::nullopt;
      return x;
    case Op::argmax:
    case Op::argmin: {
      auto count = static_cast<double>(reduced_count(operands[0].type, attributes));
      return count == 0 ? std::nullopt : if_exact({0, count - 1});
    }

    case Op::softmax:
      return Range{0, 1};
    case Op::rms_norm:
    case Op::layer_norm: {
      auto width = static_cast<double>(result.shape[result.shape.rank() - 1]);
      double bias = operands.size() == 3 ? operands[2].range.size() : 0;
      return symmetric(std::sqrt(width) * y.size() + bias);
    }
    case Op::matmul: {
      const Shape& a = operands[0].type.shape;
      return symmetric(static_cast<double>(a[a.rank() - 1]) * x.size() * y.size());
    }

    case Op::embedding:
      return y;
    case Op::index_copy:
      return hull({x.low, x.high, operands[2].range.low, operands[2].range.high});
    case Op::cat: {
      Range all = x;
      for (const Item& item : operands) all = hull({all.low, all.high, item.range.low, item.range.high});
      return all;
    }
    case Op::index_select:
    case Op::reshape:
    case Op::permute:
    case Op::slice:
    case Op::expand:
    case Op::shard:
    case Op::contiguous:
    case Op::copy_to:
      return x;

    case Op::rope:
      return symmetric(1.5 * x.size());
    case Op::attention:
      return operands[2].range;

    case Op::all_reduce:
    case Op::reduce_scatter: {
      const std::string& reduce = attributes.get<std::string>("reduce");
      double members = attributes.get<Group>("group").size();
      if (reduce == "sum") return hull({x.low, x.high, x.low * members, x.high * members});
      if (reduce == "prod") return symmetric(std::pow(std::max(x.size(), 1.0), members));
      return x;
    }
    case Op::all_gather:
    case Op::all_to_all:
    case Op::broadcast:
    case Op::barrier:
      return x;

    case Op::linear:
    case Op::transpose:
    case Op::stack:
    case Op::send:
    case Op::recv:
      return std::nullopt;  // composites are decomposed first; messages need a program per rank
  }
  return std::nullopt;
}

}  // namespace

Range argument_range(DType t) {
  if (is_float(t)) return {-2, 2};
  if (t == DType::u8) return {0, 15};
  return t == DType::boolean ? Range{0, 1} : Range{-8, 8};
}

std::optional<Range> range_of(Op op, std::span<const Item> operands, const Attributes& attributes,
                              const TensorType& result) {
  std::optional<Range> range = unlimited(op, operands, attributes, result);
  if (!range) return std::nullopt;
  Range limits = whole_range(result.dtype);
  if (range->low >= limits.low && range->high <= limits.high) return range;
  // Narrow integers wrap, in every implementation alike; what the wide ones might do cannot be tracked.
  if (result.dtype != DType::i32 && result.dtype != DType::u8) return std::nullopt;
  return range->size() <= kLargestInteger * kLargestInteger ? std::optional(limits) : std::nullopt;
}

}  // namespace peri::testing
