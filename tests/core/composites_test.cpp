// What a composite op's steps compute, step by step by the reference, is what the reference says that the op
// means.
#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

#include "core/interpreter/interpreter.hpp"
#include "core/ops/families.hpp"
#include "tests/support/random.hpp"

using namespace peri;
using peri::testing::Random;

namespace {

Value random_value(Random& random, DType dtype, const Shape& shape) {
  Value value = zeros({dtype, shape});
  if (is_float(dtype))
    for (double& x : std::get<Value::Floats>(value.elements))
      x = static_cast<double>(random.between(-8, 8)) / 4;
  else
    for (int64_t& x : std::get<Value::Integers>(value.elements))
      x = random.below(dtype == DType::boolean ? 2 : 5);
  return value;
}

Shape random_shape(Random& random, int rank) {
  Shape shape;
  for (int d = 0; d < rank; ++d) shape.push_back(random.below(10) == 0 ? 0 : random.between(1, 5));
  return shape;
}

Ints random_ints(Random& random, size_t count, int64_t low, int64_t high) {
  Ints ints;
  for (size_t i = 0; i < count; ++i) ints.push_back(random.between(low, high));
  return ints;
}

DType random_dtype(Random& random) {
  return random.pick(
      {DType::f32, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8, DType::boolean});
}

struct Call {
  std::vector<Value> operands;
  Attributes attributes;
};

Call convolution(Random& random, int spatial) {
  const int64_t groups = random.between(1, 3), in = random.between(1, 3), out = random.between(1, 2);
  Shape x = {random.between(0, 2), groups * in}, weight = {groups * out, in};
  for (int d = 0; d < spatial; ++d) {
    x.push_back(random.between(5, 8));
    weight.push_back(random.between(1, 3));
  }
  Call call{{random_value(random, DType::f32, x), random_value(random, DType::f32, weight)}, {}};
  if (random.below(2)) call.operands.push_back(random_value(random, DType::f32, {groups * out}));
  const auto each = static_cast<size_t>(spatial);
  call.attributes = {{"stride", random_ints(random, each, 1, 3)},
                     {"padding", random_ints(random, random.below(2) ? 1 : each, 0, 2)},
                     {"dilation", random_ints(random, random.below(2) ? 0 : each, 1, 2)},
                     {"groups", groups}};
  return call;
}

// Operands and attributes that suit the op.
Call random_call(Random& random, Op op) {
  const int rank = static_cast<int>(random.between(0, 3));
  const Shape shape = random_shape(random, rank);
  const DType dtype = random_dtype(random);
  const Value x = random_value(random, dtype, shape);
  Ints dims;
  for (int d = 0; d < rank; ++d)
    if (random.below(2)) dims.push_back(random.below(2) ? d : d - rank);
  switch (op_of<CompositeOp>(op)) {
    case CompositeOp::any:
    case CompositeOp::all:
      return {{x}, {{"dims", dims}, {"keepdim", random.below(2) == 1}}};
    case CompositeOp::norm: {
      const double p = random.pick({1.0, 2.0, std::numeric_limits<double>::infinity()});
      return {{random_value(random, random.pick({DType::f32, DType::f16}), {3, 2, 4})},
              {{"p", p}, {"dims", rank == 3 ? dims : Ints{}}, {"keepdim", random.below(2) == 1}}};
    }
    case CompositeOp::one_hot:
      return {{random_value(random, random.pick({DType::i32, DType::i64, DType::u8}), shape)},
              {{"classes", random.below(5)}, {"dtype", dtype}}};
    case CompositeOp::masked_fill: {
      Shape mask = shape;
      for (int d = 0; d < rank; ++d)
        if (random.below(3) == 0) mask[d] = 1;
      if (rank > 0 && random.below(3) == 0) mask.erase(0);
      return {{x, random_value(random, DType::boolean, mask)}, {{"value", 1.0}}};
    }
    case CompositeOp::tile:
      return {{x}, {{"repeats", random_ints(random, static_cast<size_t>(random.below(rank + 3)), 0, 3)}}};
    case CompositeOp::pad:
      return {{x},
              {{"padding", random_ints(random, 2 * static_cast<size_t>(random.below(rank + 1)), 0, 2)},
               {"value", 1.0}}};
    case CompositeOp::conv1d:
      return convolution(random, 1);
    case CompositeOp::conv2d:
      return convolution(random, 2);
    case CompositeOp::linear:
      return {{random_value(random, DType::f32, {2, 3}), random_value(random, DType::f32, {4, 3}),
               random_value(random, DType::f32, {4})},
              {}};
    case CompositeOp::transpose:
      return {{random_value(random, dtype, random_shape(random, 3))}, {{"dim0", int64_t{0}}}};
    case CompositeOp::stack:
      return {{x, x}, {{"dim", random.below(rank + 1)}}};
  }
  PERI_CHECK(false, "not a composite op");
}

}  // namespace

TEST_CASE("the steps of a composite op compute what it means") {
  Random random(1);
  for (int i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    if (!info(op).has(kComposite)) continue;
    for (int round = 0; round < 100; ++round) {
      const Call call = random_call(random, op);
      const Result<Value> meant = interpret(op, call.operands, call.attributes);
      INFO(to_string(op) << " of " << call.operands[0].type.to_string() << ", round " << round);
      REQUIRE((meant ? "" : meant.error().to_string()) == std::string());
      std::vector<TensorType> types;
      for (const Value& operand : call.operands) types.push_back(operand.type);
      std::vector<Value> values = call.operands;
      const Result<std::vector<Step>> steps = decompose(op, types, call.attributes);
      REQUIRE(steps);
      for (const Step& step : *steps) {
        std::vector<Value> operands;
        for (int operand : step.operands) operands.push_back(values[static_cast<size_t>(operand)]);
        const Result<Value> value = interpret(step.op, operands, step.attributes);
        REQUIRE((value ? "" : value.error().to_string()) == std::string());
        values.push_back(*value);
      }
      // Quarters up to 2 sum exactly, in any order; only a root is rounded.
      CHECK(values.back() == *meant);
    }
  }
}
