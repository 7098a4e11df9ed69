// Creation, copies, joins and lookups.
#include <catch2/catch.hpp>
#include <cmath>

#include "core/types/random.hpp"
#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::testing;

TEST_CASE("creation agrees with the reference in every layout") {
  for (DType dtype : kDTypes)
    for (const Ints& shape : {Ints{}, Ints{0}, Ints{3, 700}, Ints{2, 3, 5}})
      for (double value : {0.0, 1.5, -3.0, 1e12}) {
        if (holds(dtype, value))
          CHECK(disagreement(Op::full, {}, {{"shape", shape}, {"value", value}, {"dtype", dtype}}) == "");
        if (!is_float(dtype)) continue;
        CHECK(disagreement(Op::rand, {}, {{"shape", shape}, {"seed", int64_t(7)}, {"dtype", dtype}}) == "");
        CHECK(disagreement(Op::randn, {}, {{"shape", shape}, {"seed", int64_t(7)}, {"dtype", dtype}}) == "");
      }
  auto arange = [](int64_t count, double start, double step, DType dtype) {
    return disagreement(Op::arange, {},
                        {{"count", count}, {"start", start}, {"step", step}, {"dtype", dtype}});
  };
  for (DType dtype : {DType::f32, DType::bf16}) CHECK(arange(1300, -2, 0.75, dtype) == "");
  for (DType dtype : {DType::i32, DType::i64}) CHECK(arange(1300, 7, -3, dtype) == "");
  CHECK(arange(86, 255, -3, DType::u8) == "");
}

TEST_CASE("random numbers do not depend on the threads") {
  std::string first;
  for (int threads : {1, 3}) {
    host::set_thread_count(threads);
    auto result = run_op(Op::randn, {}, {{"shape", Ints{100'003}}, {"seed", int64_t(1)}});
    if (first.empty()) first = bits(*result);
    CHECK((bits(*result) == first));
  }
  host::set_thread_count(1);
}

TEST_CASE("copies between all layouts") {
  Random random(1);
  for (DType dtype : kDTypes)
    for (const Shape& shape :
         {Shape{}, Shape{0, 3}, Shape{5}, Shape{70, 33}, Shape{3, 40, 5}, Shape{2, 1, 3, 2, 1, 2, 3, 2}})
      CHECK(disagreement(Op::contiguous, {random_value(random, dtype, shape)}) == "");
}

TEST_CASE("large transposed and expanded copies on several threads") {
  Random random(2);
  host::set_thread_count(3);
  CHECK(disagreement(Op::contiguous, {random_value(random, DType::bf16, {3, 250, 301})}, {},
                     {Style::column_major, Style::plain}) == "");
  host::set_thread_count(1);
  Window in = place(floats({3}, {1, 2, 3})), out = blank({DType::f32, {3, 2}});
  in.view = {{3, 2}, {1, 0}, in.view.offset};
  REQUIRE(launch({.op = Op::contiguous}, std::span(&in, 1), std::span(&out, 1)));
  CHECK(read(out).floats() == std::vector<double>{1, 1, 2, 2, 3, 3});
}

TEST_CASE("cat agrees with the reference along every dimension") {
  Random random(3);
  for (DType dtype : {DType::f32, DType::i64, DType::u8})
    for (int dim = 0; dim < 3; ++dim) {
      std::vector<Value> parts;
      for (int64_t size : {2, 0, 1, 5}) {
        Shape shape{3, 4, 5};
        shape[dim] = size;
        parts.push_back(random_value(random, dtype, shape));
      }
      CHECK(disagreement(Op::cat, parts, {{"dim", int64_t(dim)}}) == "");
    }
}

TEST_CASE("lookups agree with the reference, indices out of range included") {
  Random random(4);
  for (DType dtype : kDTypes)
    for (DType index : {DType::i32, DType::i64}) {
      const Value ids = integers(index, {2, 3}, {0, 4, -1, 5, 2, 2147483647}),
                  list = integers(index, {4}, {3, -2, 0, 3});
      CHECK(disagreement(Op::embedding, {ids, random_value(random, dtype, {5, 7})}) == "");
      CHECK(disagreement(Op::embedding, {integers(index, {}, {1}), random_value(random, dtype, {5, 7})}) ==
            "");
      for (int64_t dim : {0, 1, 2}) {
        const Value x = random_value(random, dtype, {4, 4, 4});
        CHECK(disagreement(Op::index_select, {x, list}, {{"dim", dim}}) == "");
        CHECK(disagreement(Op::index_copy, {x, list, random_value(random, dtype, {4, 4, 4})},
                           {{"dim", dim}}) == "");
      }
    }
  CHECK(disagreement(Op::embedding, {zeros({DType::i64, {0}}), zeros({DType::f32, {5, 7}})}) == "");
  CHECK(disagreement(Op::embedding, {integers(DType::i64, {2}, {0, 1}), zeros({DType::f32, {0, 7}})}) == "");
  const Value far = integers(DType::i64, {2}, {INT64_MAX, INT64_MIN});
  const Value missing = read(*run_op(Op::embedding, std::vector{far, floats({1, 1}, {5})}, {}));
  CHECK((std::isnan(missing.floats()[0]) && std::isnan(missing.floats()[1])));
}

TEST_CASE("of several writes to one slice the last one holds") {
  const Value result =
      read(*run_op(Op::index_copy,
                   std::vector{zeros({DType::i32, {3}}), integers(DType::i64, {3}, {1, 2, 1}),
                               integers(DType::i32, {3}, {7, 8, 9})},
                   {{"dim", int64_t(0)}}));
  CHECK(result.integers() == std::vector<int64_t>{0, 9, 8});
}

TEST_CASE("index_copy may write into its operand's memory") {
  Window x = place(integers(DType::i32, {3}, {1, 2, 3}));
  Window index = place(integers(DType::i32, {1}, {1})), source = place(integers(DType::i32, {1}, {9}));
  REQUIRE(launch({.op = Op::index_copy, .attributes = {{"dim", int64_t(0)}}}, std::vector{x, index, source},
                 std::span(&x, 1)));
  CHECK(read(x).integers() == std::vector<int64_t>{1, 9, 3});
}
