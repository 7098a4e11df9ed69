// Reductions against the reference, over dtypes, dimensions and layouts; the same bits on any threads and in
// any layout.
#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/host/simd/isa.hpp"
#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::testing;

TEST_CASE("reductions agree with the reference over every choice of dimensions") {
  Random random(1);
  const Shape shape{3, 4, 2, 5};
  for (DType dtype : kDTypes)
    for (Op op : ops_of(Family::reduction)) {
      if (!takes(info(op).dtypes, dtype)) continue;
      const Value x = random_value(random, dtype, shape, -3, 3);
      for (int64_t set = 0; set < 16; ++set) {
        Ints dims;
        for (int64_t d = 0; d < 4; ++d)
          if (set >> d & 1) dims.push_back(d);
        CHECK(disagreement(op, {x}, {{"dims", dims}, {"keepdim", set % 3 == 0}},
                           {Style::plain, Style::mirrored}) == "");
      }
      CHECK(disagreement(op, {x}, {{"dims", Ints{1}}}) == "");
    }
}

TEST_CASE("long reductions along either dimension") {
  Random random(2);
  for (const Shape& shape :
       {Shape{3, 5000}, Shape{5000, 3}, Shape{1025, 130}, Shape{130, 1025}, Shape{1, 1}, Shape{2, 31}})
    for (DType dtype : {DType::f32, DType::bf16, DType::i32})
      for (const Ints& dims : {Ints{0}, Ints{1}, Ints{}}) {
        const Value x = random_value(random, dtype, shape, -3, 4);
        CHECK(disagreement(Op::sum, {x}, {{"dims", dims}}, {Style::plain, Style::column_major}) == "");
        CHECK(disagreement(Op::max, {x}, {{"dims", dims}}, {Style::plain, Style::column_major}) == "");
      }
}

TEST_CASE("a million elements sum accurately") {
  Random random(3);
  const Value x = random_value(random, DType::f32, {1'000'000}, 0, 1);
  double exact = 0;
  for (double v : x.floats()) exact += v;
  auto result = run_op(Op::sum, std::span(&x, 1), {});
  CHECK(read(*result).floats()[0] == Approx(exact).epsilon(1e-6));
}

TEST_CASE("threads, layouts and instruction sets change no bit of a sum") {
  Random random(4);
  const Value x = random_value(random, DType::f32, {2100, 70});
  for (const Ints& dims : {Ints{0}, Ints{1}, Ints{}}) {
    std::string first;
    for (int threads : {1, 2, 3, 7}) {
      host::set_thread_count(threads);
      for (Style style : kStyles) {
        host::limit_isa(static_cast<host::Isa>(static_cast<int>(style) % 3));
        auto result = run_op(Op::sum, std::span(&x, 1), {{"dims", dims}}, style);
        if (first.empty()) first = bits(*result);
        CHECK((bits(*result) == first));
      }
    }
  }
  host::set_thread_count(1);
  host::limit_isa(host::Isa::avx512);
}

TEST_CASE("positions of extrema: ties, NaN, dtypes, dimensions") {
  auto position = [](Op op, const Value& x) {
    auto result = run_op(op, std::span(&x, 1), {{"dim", int64_t(0)}});
    return read(*result).integers()[0];
  };
  CHECK(position(Op::argmax, floats({5}, {1, 3, 2, 3, 0})) == 1);
  CHECK(position(Op::argmin, floats({5}, {1, 0, 2, 0, 5})) == 1);
  CHECK(position(Op::argmax, floats({4}, {1, NAN, 9, NAN})) == 1);
  CHECK(position(Op::argmin, floats({4}, {1, -9, NAN, 0})) == 2);
  CHECK(position(Op::argmax, floats({2}, {-INFINITY, -INFINITY})) == 0);
  CHECK(position(Op::argmax, integers(DType::i64, {3}, {INT64_MIN, INT64_MAX, INT64_MAX})) == 1);
  Random random(5);
  for (DType dtype : kDTypes)
    for (int64_t dim : {0, 1, 2}) {
      if (dtype == DType::boolean) continue;
      CHECK(disagreement(Op::argmax, {random_value(random, dtype, {3, 70, 5})}, {{"dim", dim}}) == "");
      CHECK(disagreement(Op::argmin, {random_value(random, dtype, {3, 70, 5})}, {{"dim", dim}}) == "");
    }
}

TEST_CASE("reductions of nothing, and NaN") {
  const Value empty = zeros({DType::f32, {0, 3}}), no_rows = zeros({DType::f32, {3, 0}});
  CHECK(read(*run_op(Op::sum, std::span(&empty, 1), {{"dims", Ints{0}}})).floats() ==
        std::vector<double>{0, 0, 0});
  CHECK(read(*run_op(Op::prod, std::span(&empty, 1), {{"dims", Ints{0}}})).floats() ==
        std::vector<double>{1, 1, 1});
  CHECK(std::isnan(read(*run_op(Op::mean, std::span(&empty, 1), {{"dims", Ints{0}}})).floats()[0]));
  CHECK(read(*run_op(Op::sum, std::span(&no_rows, 1), {{"dims", Ints{0}}})).floats().empty());
  CHECK(read(*run_op(Op::argmax, std::span(&empty, 1), {{"dim", int64_t(1)}})).integers().empty());
  CHECK(!run_op(Op::max, std::span(&empty, 1), {{"dims", Ints{0}}}));
  const Value nan = floats({3}, {1, NAN, 5});
  CHECK(std::isnan(read(*run_op(Op::max, std::span(&nan, 1), {})).floats()[0]));
  CHECK(std::isnan(read(*run_op(Op::min, std::span(&nan, 1), {})).floats()[0]));
}
