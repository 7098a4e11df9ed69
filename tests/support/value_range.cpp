// The range of an op's values: of a pointwise op by its own expression over intervals; of any other by what
// the reference makes of operands at the ends of their ranges and in between.
#include "tests/support/value_range.hpp"

#include <limits>

#include "core/interpreter/interpreter.hpp"
#include "core/interpreter/interpreter_ops.hpp"
#include "core/ops/attributes_of.hpp"
#include "tests/support/interval.hpp"
#include "tests/support/random.hpp"

namespace peri::testing {
namespace {

constexpr double kMaxFloat = 2000;    // so that an f16 stays far from its 65504
constexpr double kMaxInteger = 1e15;  // so that an i64 stays exact in the double that tracks it

Range whole_range(DType t) {
  switch (t) {
    case DType::i32:
      return {-2147483648.0, 2147483647.0};
    case DType::u8:
      return {0, 255};
    case DType::boolean:
      return {0, 1};
    case DType::i64:
      return {-kMaxInteger, kMaxInteger};
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return {-kMaxFloat, kMaxFloat};
  }
  return {0, 0};
}

// --- pointwise ---

// The table's expression of `op`.
Interval evaluate(Op op, const Interval& x, const Interval& y, const Interval& z) {
  using T = Interval;
  static_cast<void>(y), static_cast<void>(z);
  switch (op) {
#define PERI_POINTWISE(name, arity, attributes, dtypes, result, tolerance, expression, documentation) \
  case Op::name:                                                                                      \
    return T(expression);
#define PERI_OP(name, ...) \
  case Op::name:           \
    break;
#include "core/ops/ops.def"
  }
  PERI_CHECK(false, "not a pointwise op");
}

std::optional<Range> pointwise_range(Op op, std::span<const Item> operands) {
  std::vector<Interval> x;
  for (const Item& item : operands)
    x.emplace_back(item.range.low, item.range.high, item.exact, !is_float(item.type.dtype));
  x.resize(3, Interval(0));
  std::optional<Range> range;
  for (bool open_conditions_hold : {false, true}) {
    evaluation = {open_conditions_hold, true};
    const Interval result = evaluate(op, x[0], x[1], x[2]);
    if (!evaluation.is_tame) return std::nullopt;
    range = range ? Range{std::min(range->low, result.low), std::max(range->high, result.high)}
                  : Range{result.low, result.high};
  }
  return range;
}

// --- the others ---

// How the elements of sample operands are chosen from their ranges.
enum class Sample : uint8_t { largest, other_end, random, one_largest };
constexpr Sample kSamples[] = {Sample::largest, Sample::other_end, Sample::random, Sample::one_largest};

double choose(Sample sample, Range range, bool is_first, Random& random) {
  const bool high_is_larger = std::fabs(range.high) >= std::fabs(range.low);
  const double largest = high_is_larger ? range.high : range.low;
  switch (sample) {
    case Sample::largest:
      return largest;
    case Sample::other_end:
      return high_is_larger ? range.low : range.high;
    case Sample::random:
      return range.low + (range.high - range.low) * random.unit();
    case Sample::one_largest:
      return is_first ? largest : std::clamp(0.0, range.low, range.high);
  }
  return 0;
}

// Sums and products of integers are taken in floats, where they do not wrap.
bool is_taken_in_floats(const OpInfo& row) {
  return row.family == Family::reduction || row.family == Family::scan || row.family == Family::collective;
}

Value sample_of(const Item& item, Sample sample, bool as_floats, Random& random) {
  TensorType type = item.type;
  if (as_floats && !is_float(type.dtype)) type.dtype = DType::f32;
  Value value = zeros(type);
  for (int64_t i = 0; i < numel(type.shape); ++i) {
    const double x = choose(sample, item.range, i == 0, random);
    if (is_float(type.dtype))
      std::get<Value::Floats>(value.elements)[i] = x;
    else
      std::get<Value::Integers>(value.elements)[i] = static_cast<int64_t>(std::nearbyint(x));
  }
  return value;
}

// What the members of a collective's group get; of any other op, one value.
std::vector<Value> compute(Op op, const std::vector<Value>& operands, const Attributes& attributes) {
  if (info(op).family == Family::collective) {
    std::vector<TensorType> types = {operands[0].type};
    Result<TensorType> type = infer(op, types, attributes);
    PERI_CHECK(type, "the generator gives valid operands");
    const Node node{.op = op, .operands = {}, .attributes = attributes, .type = *type};
    const auto members = static_cast<size_t>(attributes.get<"group">().size());
    return reference::collective(node, std::vector<const Value*>(members, operands.data()));
  }
  Result<Value> value = interpret(op, operands, attributes);
  PERI_CHECK(value, "the generator gives valid operands");
  return {*value};
}

std::optional<Range> sampled_range(Op op, std::span<const Item> operands, const Attributes& attributes) {
  Random random(1);
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (Sample sample : kSamples) {
    std::vector<Value> values;
    for (const Item& item : operands)
      values.push_back(sample_of(item, sample, is_taken_in_floats(info(op)), random));
    auto note = [&](const auto& elements) {
      for (auto x : elements) {
        low = std::min(low, static_cast<double>(x));
        high = std::max(high, static_cast<double>(x));
        if (!std::isfinite(static_cast<double>(x))) low = -std::numeric_limits<double>::infinity();
      }
    };
    for (const Value& result : compute(op, values, attributes)) std::visit(note, result.elements);
    if (operands.empty()) break;  // made from attributes alone: these are its values
  }
  if (low > high) return Range{0, 0};  // no elements
  if (!std::isfinite(low) || !std::isfinite(high)) return std::nullopt;
  if (operands.empty()) return Range{low, high};
  // What lies between the samples is nearer to zero or, if an operand has both signs, on its other side.
  const double size = std::max(std::fabs(low), std::fabs(high));
  if (std::any_of(operands.begin(), operands.end(), [](const Item& x) { return x.range.low < 0; }))
    return Range{-size, size};
  return Range{std::min(low, 0.0), std::max(high, 0.0)};
}

// Before the limits of the result's dtype are applied.
std::optional<Range> unlimited(Op op, std::span<const Item> operands, const Attributes& attributes,
                               const TensorType& result) {
  // What becomes an integer or a bool jumps, unless every implementation has the operand exactly.
  const bool jumps = !is_float(result.dtype) &&
                     std::any_of(operands.begin(), operands.end(),
                                 [](const Item& x) { return is_float(x.type.dtype) && !x.exact; });
  const Family family = info(op).family;
  if (family == Family::source) return argument_range(result.dtype);
  if (family == Family::message) return operands[0].range;
  if (family == Family::window)
    return Range{std::min(operands[0].range.low, operands[2].range.low),
                 std::max(operands[0].range.high, operands[2].range.high)};
  if (family == Family::composite || jumps) return std::nullopt;  // composites are decomposed first
  if (family == Family::pointwise) return pointwise_range(op, operands);
  if (family == Family::result) return Range{0, kMaxTensor};  // the positions of what was sorted
  if (op == Op::scatter_add && !is_float(result.dtype)) {     // all might fall on one element, and wrap there
    const auto count = operands[1].type.shape[attributes.as<Op::scatter_add>().dim];
    const double size = operands[0].range.size() + static_cast<double>(count) * operands[2].range.size();
    return Range{-size, size};
  }
  if (family == Family::arg_reduction) {
    const int dim = attributes.as<Op::argmax, Op::argmin>().dim;
    return Range{0, static_cast<double>(operands[0].type.shape[dim] - 1)};
  }
  return sampled_range(op, operands, attributes);
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
  // A cast from floats saturates.
  if (op == Op::cast && is_float(operands[0].type.dtype) && !is_float(result.dtype))
    return Range{std::clamp(range->low, limits.low, limits.high),
                 std::clamp(range->high, limits.low, limits.high)};
  if (op == Op::cast && result.dtype == DType::boolean) return limits;
  if (range->low >= limits.low && range->high <= limits.high) return range;
  // Narrow integers wrap, in every implementation alike; what the wide ones might do cannot be tracked.
  if (result.dtype != DType::i32 && result.dtype != DType::u8) return std::nullopt;
  return range->size() <= kMaxInteger * kMaxInteger ? std::optional(limits) : std::nullopt;
}

}  // namespace peri::testing
