// gather, scatter and scatter_add: an index for each element.
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::testing;

namespace {

// Indices from 0 to below `size`, and some that are out of range.
Value random_index(Random& random, DType dtype, const Shape& shape, int64_t size) {
  Value index = zeros({dtype, shape});
  for (int64_t& i : std::get<Value::Integers>(index.elements)) {
    i = random.below(std::max<int64_t>(size, 1));
    if (size == 0 || random.chance(5)) i = random.pick<int64_t>({-1, size, 2147483647});
  }
  return index;
}

}  // namespace

TEST_CASE("an index for each element agrees with the reference in every layout") {
  Random random(1);
  for (DType dtype : kDTypes)
    for (DType index_dtype : {DType::i32, DType::i64})
      for (int64_t dim : {0, 1, 2})
        for (int64_t count : {0, 1, 9, 40}) {
          const Value x = random_value(random, dtype, {4, 5, 6});
          Shape shape = {3, 5, 6};
          shape[static_cast<int>(dim)] = count;
          const Value index = random_index(random, index_dtype, shape, x.type.shape[static_cast<int>(dim)]);
          const Value source = random_value(random, dtype, {count + 4, count + 5, count + 6});
          CHECK(disagreement(Op::gather, {x, index}, {{"dim", dim}}) == "");
          CHECK(disagreement(Op::scatter, {x, index, source}, {{"dim", dim}}) == "");
          if (dtype != DType::boolean)
            CHECK(disagreement(Op::scatter_add, {x, index, source}, {{"dim", dim}}) == "");
        }
}

TEST_CASE("scatters of vectors, and where there is nothing") {
  Random random(2);
  for (DType dtype : {DType::f32, DType::bf16, DType::u8}) {
    const Value x = random_value(random, dtype, {7}), source = random_value(random, dtype, {100});
    const Value index = random_index(random, DType::i64, {100}, 7);
    CHECK(disagreement(Op::scatter_add, {x, index, source}, {{"dim", int64_t{0}}}) == "");
    CHECK(disagreement(Op::scatter, {x, index, source}, {{"dim", int64_t{0}}}) == "");
    CHECK(disagreement(Op::gather, {x, index}, {{"dim", int64_t{0}}}) == "");
    const Value nothing = zeros({dtype, {0, 3}}), far = random_index(random, DType::i32, {2, 3}, 0);
    CHECK(disagreement(Op::scatter_add, {nothing, far, zeros({dtype, {2, 3}})}, {{"dim", int64_t{0}}}) == "");
    CHECK(disagreement(Op::gather, {nothing, far}, {{"dim", int64_t{0}}}) == "");
  }
}

// On GPUs few lines are taken by warps and many by threads.
TEST_CASE("long and wide scatters") {
  Random random(3);
  for (DType dtype : {DType::f32, DType::f16, DType::i64})
    for (const Shape& shape : {Shape{3000}, Shape{3, 1500}, Shape{50, 4200}}) {
      const int64_t dim = shape.rank() == 2 && shape[0] == 3 ? 1 : 0;
      Shape to = shape;
      to[static_cast<int>(dim)] = 20;
      const Value x = random_value(random, dtype, to), source = random_value(random, dtype, shape);
      const Value index = random_index(random, DType::i32, shape, 20);
      CHECK(disagreement(Op::scatter_add, {x, index, source}, {{"dim", dim}}, {Style::plain}) == "");
      CHECK(disagreement(Op::scatter, {x, index, source}, {{"dim", dim}}, {Style::plain}) == "");
    }
}

TEST_CASE("elements are added in ascending order, and rounded once") {
  // In f32, 2^24 + 1 is 2^24; 1 + 1 first, or after it, gives 2^24 + 2.
  const Value index = integers(DType::i64, {3}, {0, 0, 0});
  auto sum = [&](DType dtype, double x, std::vector<double> terms) {
    return read(*run_op(Op::scatter_add,
                        std::vector{floats({1}, {x}, dtype), index, floats({3}, terms, dtype)},
                        {{"dim", int64_t{0}}}))
        .floats()[0];
  };
  CHECK(sum(DType::f32, 0, {16777216, 1, 1}) == 16777216);
  CHECK(sum(DType::f32, 0, {1, 1, 16777216}) == 16777218);
  CHECK(sum(DType::f32, 16777216, {1, 1, 2}) == 16777218);
  // bf16 has 8 bits: 256 + 1 would round back to 256 each time.
  CHECK(sum(DType::bf16, 256, {1, 1, 2}) == 260);
}

TEST_CASE("scatters have the same bits on any threads, also in their operand's memory") {
  Random random(4);
  const Value source = random_value(random, DType::f32, {500, 300});
  const Value index = random_index(random, DType::i64, {500, 300}, 20);
  for (DType dtype : {DType::f32, DType::bf16}) {
    Value typed = source;
    typed.type.dtype = dtype;
    for (double& x : std::get<Value::Floats>(typed.elements)) x = store(dtype, x);
    const Value zero = zeros({dtype, {20, 300}});
    std::string first;
    for (int threads : {1, 3}) {
      host::set_thread_count(threads);
      Window x = place(zero), i = place(index), s = place(typed);
      REQUIRE(launch({.op = Op::scatter_add, .attributes = {{"dim", int64_t(0)}}}, std::vector{x, i, s},
                     std::span(&x, 1)));
      auto apart = run_op(Op::scatter_add, std::vector{zero, index, typed}, {{"dim", int64_t(0)}});
      REQUIRE(apart);
      if (first.empty()) first = bits(x);
      CHECK((bits(x) == first));
      CHECK((bits(*apart) == first));
    }
  }
  host::set_thread_count(1);
}

TEST_CASE("an index that is out of range reads NaN and writes nothing") {
  const Value x = floats({2}, {1, 2}), far = integers(DType::i64, {3}, {INT64_MAX, INT64_MIN, 1});
  const Value got = read(*run_op(Op::gather, std::vector{x, far}, {{"dim", int64_t{0}}}));
  CHECK((std::isnan(got.floats()[0]) && std::isnan(got.floats()[1]) && got.floats()[2] == 2));
  for (Op op : {Op::scatter, Op::scatter_add})
    CHECK(read(*run_op(op, std::vector{x, far, floats({3}, {7, 8, 0})}, {{"dim", int64_t{0}}})).floats()[0] ==
          1);
}
