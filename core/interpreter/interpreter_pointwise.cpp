// The reference for pointwise ops, casts and creation.
#include <limits>

#include "core/interpreter/interpreter_ops.hpp"
#include "core/ops/families.hpp"
#include "core/types/random.hpp"
#include "core/types/scalar.hpp"

namespace peri::reference {
namespace {

template <class T>
T evaluate(Op op, T x, T y, T z) {
  switch (op) {
#define PERI_POINTWISE(name, ...)                     \
  case Op::name:                                      \
    if constexpr (scalar::defined_for<Op::name, T>()) \
      return scalar::evaluate<Op::name, T>(x, y, z);  \
    else                                              \
      break;
#define PERI_OP(name, ...) \
  case Op::name:           \
    break;
#include "core/ops/ops.def"
  }
  PERI_CHECK(false, "the table does not allow this op on this dtype");
}

double as_double(const Value& value, int64_t i) {
  const auto* floats = std::get_if<Value::Floats>(&value.elements);
  return floats ? (*floats)[i] : static_cast<double>(value.integers()[i]);
}

// A number as an element of an integer dtype or bool: truncates and saturates, as the cast of the table.
int64_t to_integer(DType t, double value) {
  switch (t) {
    case DType::i32:
      return scalar::convert<int32_t>(value);
    case DType::i64:
      return scalar::convert<int64_t>(value);
    case DType::u8:
      return scalar::convert<uint8_t>(value);
    case DType::boolean:
      return scalar::convert<bool>(value);
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      break;
  }
  PERI_CHECK(false, "not an integer dtype");
}

// Element i of a value of `type` is `number(i)`.
template <class Number>
Value fill(const TensorType& type, Number number) {
  Value result = zeros(type);
  for (int64_t i = 0; i < numel(type.shape); ++i) {
    if (is_float(type.dtype))
      std::get<Value::Floats>(result.elements)[i] = store(type.dtype, number(i));
    else
      std::get<Value::Integers>(result.elements)[i] = to_integer(type.dtype, number(i));
  }
  return result;
}

}  // namespace

Value pointwise(const OpCall& call) {
  Value result = zeros(call.type);
  bool in_floats = is_float(call.operands.back()->type.dtype);
  for (int64_t i = 0; i < numel(call.type.shape); ++i) {
    Index index = index_of(i, call.type.shape);
    std::array<double, 3> numbers{};
    std::array<int64_t, 3> integers{};
    for (size_t k = 0; k < call.operands.size(); ++k) {
      const Value& operand = call.operand(k);
      int64_t at = broadcast_element(index, call.type.shape.rank(), operand.type.shape);
      if (in_floats)
        numbers[k] = as_double(operand, at);  // the condition of `where` is a bool
      else
        integers[k] = operand.integers()[at];
    }
    if (!in_floats) {
      int64_t value = evaluate<int64_t>(call.op, integers[0], integers[1], integers[2]);
      std::get<Value::Integers>(result.elements)[i] = wrap(call.type.dtype, value);
      continue;
    }
    double value = evaluate<double>(call.op, numbers[0], numbers[1], numbers[2]);
    if (call.type.dtype == DType::boolean)
      std::get<Value::Integers>(result.elements)[i] = value != 0;
    else
      std::get<Value::Floats>(result.elements)[i] = store(call.type.dtype, value);
  }
  return result;
}

Value cast(const OpCall& call) {
  const Value& from = call.operand(0);
  // An integer becomes an f32 first: a 16-bit float is made from the nearest f32.
  if (is_float(from.type.dtype)) return fill(call.type, [&](int64_t i) { return from.floats()[i]; });
  if (is_float(call.type.dtype))
    return fill(call.type, [&](int64_t i) { return static_cast<float>(from.integers()[i]); });
  Value result = from;
  result.type = call.type;
  for (int64_t& element : std::get<Value::Integers>(result.elements))
    element = wrap(call.type.dtype, element);
  return result;
}

// Element i is number i of a random stream: `fill_numbers(seed, numbers)`.
template <class Fill>
static Value random(const OpCall& call, Fill fill_numbers) {
  std::vector<float> numbers(static_cast<size_t>(numel(call.type.shape)));
  fill_numbers(static_cast<uint64_t>(call.attributes.as<Op::rand, Op::randn>().seed), std::span(numbers));
  return fill(call.type, [&](int64_t i) { return numbers[i]; });
}

Value create(const OpCall& call) {
  switch (op_of<CreationOp>(call.op)) {
    case CreationOp::full: {
      double value = call.attributes.as<Op::full>().value;
      return fill(call.type, [&](int64_t) { return value; });
    }
    case CreationOp::arange: {
      const auto arange = call.attributes.as<Op::arange>();
      return fill(call.type, [&](int64_t i) { return arange.start + static_cast<double>(i) * arange.step; });
    }
    case CreationOp::rand:
      return random(call, [&](uint64_t seed, std::span<float> numbers) {
        fill_uniform(seed, 0, call.type.dtype, numbers);
      });
    case CreationOp::randn:
      return random(call, [](uint64_t seed, std::span<float> numbers) { fill_normal(seed, 0, numbers); });
  }
  PERI_CHECK(false, "not a creation");
}

}  // namespace peri::reference
