// sort and topk.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::testing;

namespace {

Attributes sorting(int64_t dim, bool descending) {
  return {{"dim", dim}, {"descending", descending}};
}
Attributes top(int64_t k, int64_t dim, bool largest) {
  return {{"k", k}, {"dim", dim}, {"largest", largest}};
}

}  // namespace

TEST_CASE("values and positions of a line worked out by hand") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const Value x = floats({1, 8}, {2, nan, -0.0, 2, -inf, 0.0, inf, -1});
  auto ascending = run_op_results(Op::sort, std::span(&x, 1), sorting(1, false));
  REQUIRE(ascending);
  CHECK(read((*ascending)[1]).integers() == std::vector<int64_t>{4, 7, 2, 5, 0, 3, 6, 1});
  const std::vector<double> values = read((*ascending)[0]).floats();
  CHECK(std::vector(values.begin(), values.begin() + 7) ==
        std::vector<double>{-inf, -1, -0.0, 0.0, 2, 2, inf});
  CHECK(std::signbit(values[2]));
  CHECK(std::isnan(values[7]));
  auto descending = run_op_results(Op::sort, std::span(&x, 1), sorting(1, true));
  REQUIRE(descending);
  CHECK(read((*descending)[1]).integers() == std::vector<int64_t>{1, 6, 0, 3, 2, 5, 7, 4});
  auto best = run_op_results(Op::topk, std::span(&x, 1), top(3, -1, true));
  REQUIRE(best);
  CHECK(read((*best)[1]).integers() == std::vector<int64_t>{1, 6, 0});
  const Value i = integers(DType::i64, {4}, {5, std::numeric_limits<int64_t>::min(), -1, 5});
  auto smallest = run_op_results(Op::topk, std::span(&i, 1), top(2, 0, false));
  REQUIRE(smallest);
  CHECK(read((*smallest)[0]).integers() == std::vector<int64_t>{std::numeric_limits<int64_t>::min(), -1});
  CHECK(read((*smallest)[1]).integers() == std::vector<int64_t>{1, 2});
}

TEST_CASE("sort and topk agree with the reference in every layout") {
  Random random(5);
  for (DType dtype : kDTypes) {
    if (dtype == DType::boolean) continue;
    for (const Shape& shape : {Shape{1}, Shape{0, 3}, Shape{3, 0}, Shape{70, 3}, Shape{2, 130, 3}})
      for (int64_t dim = 0; dim < shape.rank(); ++dim) {
        const Value x = random_value(random, dtype, shape, -9, 9);
        const int64_t length = shape[static_cast<int>(dim)];
        for (bool reversed : {false, true}) {
          CHECK(disagreement(Op::sort, {x}, sorting(dim, reversed)) == "");
          for (int64_t k : {int64_t{0}, std::min<int64_t>(1, length), length / 3, length})
            CHECK(disagreement(Op::topk, {x}, top(k, dim, reversed)) == "");
        }
      }
  }
}

// Longer than a tile of the GPU's, so that tiles are merged, or best ones taken in rounds.
TEST_CASE("long lines are sorted") {
  Random random(6);
  for (DType dtype : {DType::f32, DType::bf16, DType::i64})
    for (int64_t length : {2048, 2049, 5000, 70'001}) {
      const Value x = random_value(random, dtype, {2, length}, -1000, 1000);
      CHECK(disagreement(Op::sort, {x}, sorting(1, false), {Style::plain}) == "");
      for (int64_t k : {1, 50, 1024, 1025})
        CHECK(disagreement(Op::topk, {x}, top(k, 1, true), {Style::plain}) == "");
    }
}

TEST_CASE("what cannot be sorted is refused") {
  const Value x = floats({2, 3}, {1, 2, 3, 4, 5, 6}), scalar = floats({}, {1}),
              flags = integers(DType::boolean, {2}, {0, 1});
  CHECK_THAT(disagreement(Op::topk, {x}, top(4, 1, true)), Catch::Contains("k is 4, and dim 2 of a is 3"));
  CHECK_THAT(disagreement(Op::topk, {x}, top(-1, 0, true)), Catch::Contains("k is -1"));
  CHECK_THAT(disagreement(Op::sort, {scalar}, sorting(0, false)), Catch::Contains("dim"));
  CHECK_THAT(disagreement(Op::sort, {flags}, sorting(0, false)), Catch::Contains("numbers (not bool)"));
}
