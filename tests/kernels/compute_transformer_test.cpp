// rope and attention against the reference, and by hand.
#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/host/simd/isa.hpp"
#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::testing;

TEST_CASE("rope agrees with the reference") {
  Random random(1);
  for (DType dtype : kFloats)
    for (DType index : {DType::i32, DType::i64})
      for (const Shape& shape :
           {Shape{5, 3, 8}, Shape{5, 1, 2}, Shape{2, 5, 2, 64}, Shape{5, 0, 4}, Shape{5, 2, 0}})
        CHECK(disagreement(
                  Op::rope,
                  {random_value(random, dtype, shape), integers(index, {5}, {0, 1, 17, 4095, 1'000'000})},
                  {{"base", 500000.0}}) == "");
}

TEST_CASE("rope by hand: position 1 turns the first pair by one radian") {
  const Value x = floats({1, 1, 4}, {1, 0, 0, 2}), positions = integers(DType::i64, {1}, {1});
  const Value y = read(*run_op(Op::rope, std::vector{x, positions}, {}));
  CHECK(y.floats()[0] == Approx(std::cos(1)));
  CHECK(y.floats()[2] == Approx(std::sin(1)));
  CHECK(y.floats()[1] == Approx(-2 * std::sin(0.01)));
  CHECK(y.floats()[3] == Approx(2 * std::cos(0.01)));
}

TEST_CASE("attention agrees with the reference") {
  Random random(2);
  struct Case {
    int64_t s, h, t, g, d;
  };
  for (DType dtype : kFloats)
    for (Case c : {Case{1, 1, 1, 1, 4},
                   {5, 4, 5, 2, 16},
                   {1, 6, 131, 2, 20},
                   {40, 2, 70, 1, 64},
                   {3, 2, 9, 2, 80},
                   {1, 8, 700, 2, 64},
                   {2, 14, 2100, 2, 20},
                   {0, 2, 4, 2, 8}})
      for (bool causal : {true, false}) {
        const std::vector<Value> qkv = {random_value(random, dtype, {c.s, c.h, c.d}),
                                        random_value(random, dtype, {c.t, c.g, c.d}),
                                        random_value(random, dtype, {c.t, c.g, c.d})};
        CHECK(disagreement(Op::attention, qkv, {{"causal", causal}}) == "");
        std::vector<Value> with_positions = qkv;
        with_positions.push_back(random_value(random, DType::i32, {c.s}, -2, static_cast<double>(c.t) + 2));
        CHECK(disagreement(Op::attention, with_positions, {{"causal", causal}, {"scale", 0.3}}) == "");
      }
}

TEST_CASE("a query sees no key after its position, whatever stands there") {
  const Value q = floats({1, 1, 2}, {1, 1}), k = floats({3, 1, 2}, {0, 0, 0, 0, NAN, NAN}),
              v = floats({3, 1, 2}, {1, 2, 3, 4, NAN, NAN});
  const Value y = read(*run_op(Op::attention, std::vector{q, k, v, integers(DType::i64, {1}, {1})}, {}));
  CHECK(y.floats()[0] == Approx(2));
  CHECK(y.floats()[1] == Approx(3));
}

TEST_CASE("one query at a time, threads and instruction sets give the bits of all at once") {
  Random random(3);
  const Value q = random_value(random, DType::bf16, {37, 4, 24}),
              k = random_value(random, DType::bf16, {90, 2, 24}),
              v = random_value(random, DType::bf16, {90, 2, 24});
  std::string first;
  for (int threads : {1, 2, 5})
    for (Style style : kStyles) {
      host::set_thread_count(threads);
      host::limit_isa(static_cast<host::Isa>(static_cast<int>(style) % 3));
      auto all = run_op(Op::attention, std::vector{q, k, v}, {}, style);
      if (first.empty()) first = bits(*all);
      CHECK((bits(*all) == first));
    }
  host::set_thread_count(1);
  host::limit_isa(host::Isa::avx512);
  std::string one_by_one;
  for (int64_t i = 0; i < 37; ++i) {
    Value query = zeros({DType::bf16, {1, 4, 24}});
    std::copy_n(q.floats().begin() + i * 96, 96, std::get<Value::Floats>(query.elements).begin());
    one_by_one +=
        bits(*run_op(Op::attention, std::vector{query, k, v, integers(DType::i64, {1}, {90 - 37 + i})}, {}));
  }
  CHECK((one_by_one == first));
}

namespace {

// One head of [s, h, d].
Value head_of(const Value& x, int64_t head) {
  const int64_t rows = x.type.shape[0], heads = x.type.shape[1], width = x.type.shape[2];
  Value part = zeros({x.type.dtype, {rows, 1, width}});
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(x.floats().begin() + (row * heads + head) * width, width,
                std::get<Value::Floats>(part.elements).begin() + row * width);
  return part;
}

}  // namespace

TEST_CASE("heads that share keys give the bits of each head alone, with many keys") {
  Random random(5);
  constexpr int64_t kQueries = 3, kHeads = 8, kShared = 4, kWidth = 24, kKeys = 4500;
  const Value q = random_value(random, DType::bf16, {kQueries, kHeads, kWidth}),
              k = random_value(random, DType::bf16, {kKeys, kHeads / kShared, kWidth}),
              v = random_value(random, DType::bf16, {kKeys, kHeads / kShared, kWidth}),
              positions = integers(DType::i64, {kQueries}, {4499, 255, 3000});
  const auto all = run_op(Op::attention, std::vector{q, k, v, positions}, {});
  REQUIRE(all);
  const Value together = read(*all);
  for (int64_t head = 0; head < kHeads; ++head) {
    const auto alone = run_op(
        Op::attention,
        std::vector{head_of(q, head), head_of(k, head / kShared), head_of(v, head / kShared), positions}, {});
    REQUIRE(alone);
    CHECK(head_of(together, head).floats() == read(*alone).floats());
  }
}
