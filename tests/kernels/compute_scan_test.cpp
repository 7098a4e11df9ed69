// cumsum and cumprod.
#include <catch2/catch.hpp>
#include <utility>

#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::testing;

TEST_CASE("running totals agree with the reference in every layout") {
  Random random(1);
  for (DType dtype : kDTypes)
    for (const Shape& shape : {Shape{1}, Shape{0, 3}, Shape{3, 0}, Shape{33}, Shape{70, 3}, Shape{2, 130, 3}})
      for (int64_t dim = 0; dim < shape.rank(); ++dim) {
        CHECK(disagreement(Op::cumsum, {random_value(random, dtype, shape, -9, 9)}, {{"dim", dim}}) == "");
        if (dtype != DType::boolean)
          CHECK(disagreement(Op::cumprod, {random_value(random, dtype, shape, 0.9, 1.1)}, {{"dim", dim}}) ==
                "");
      }
}

// Longer than one segment and one block of scan_order.hpp, and not a multiple of them.
TEST_CASE("running totals of long lines") {
  Random random(2);
  for (DType dtype : {DType::f32, DType::bf16, DType::i32})
    for (const Shape& shape : {Shape{1024}, Shape{1025}, Shape{3, 5000}, Shape{2500, 70}, Shape{40'000}})
      for (int64_t dim = 0; dim < shape.rank(); ++dim)
        CHECK(disagreement(Op::cumsum, {random_value(random, dtype, shape, -9, 9)}, {{"dim", dim}},
                           {Style::plain}) == "");
}

// The order that scan_order.hpp states, written out.
TEST_CASE("totals are taken in the stated order") {
  const int64_t count = 5000;
  Random random(3);
  // Beside 2^54 a double loses the small ones, and when it is taken away again, what was lost shows.
  Value x = zeros({DType::f32, {count}});
  double large = 0x1p54;
  for (double& number : std::get<Value::Floats>(x.elements)) {
    number = random.pick({1.0, 3.0, 0.5});
    if (random.chance(1)) number = std::exchange(large, -large);
  }
  std::vector<float> expected;
  double blocks = 0, segments = 0, elements = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (i % 32 == 0) {
      segments += elements;
      elements = 0;
    }
    if (i % 1024 == 0) {
      blocks += segments;
      segments = 0;
    }
    elements += x.floats()[static_cast<size_t>(i)];
    expected.push_back(static_cast<float>(blocks + (segments + elements)));
  }
  auto result = run_op(Op::cumsum, std::span(&x, 1), {{"dim", int64_t{0}}});
  REQUIRE(result);
  const std::vector<double> got = read(*result).floats();
  CHECK(std::ranges::equal(got, expected));
}

TEST_CASE("running totals have the same bits on any threads and in any layout") {
  Random random(4);
  const Value x = random_value(random, DType::f32, {3000, 70});
  std::string first;
  for (int threads : {1, 3})
    for (Style style : {Style::plain, Style::column_major}) {
      host::set_thread_count(threads);
      auto result = run_op(Op::cumsum, std::span(&x, 1), {{"dim", int64_t{0}}}, style);
      REQUIRE(result);
      if (first.empty()) first = bits(*result);
      CHECK((bits(*result) == first));
    }
  host::set_thread_count(1);
}
