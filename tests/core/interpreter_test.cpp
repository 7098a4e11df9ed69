// The reference interpreter against results worked out by hand, one family of ops after the other.
#include "core/interpreter/interpreter.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

using namespace peri;

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Value floats(const Shape& shape, Value::Floats elements, DType dtype = DType::f32) {
  return {{dtype, shape}, elements};
}
Value integers(const Shape& shape, Value::Integers elements, DType dtype = DType::i64) {
  return {{dtype, shape}, elements};
}

Value run(Op op, std::vector<Value> operands, const Attributes& attributes = {}, int rank = 0) {
  Result<Value> result = interpret(op, operands, attributes, rank);
  if (!result) FAIL(result.error().to_string());
  return *result;
}

void check_close(const Value& got, const Value& want, double tolerance = 1e-6) {
  REQUIRE(got.type.to_string() == want.type.to_string());
  for (size_t i = 0; i < want.floats().size(); ++i) {
    INFO("element " << i << " is " << got.floats()[i] << ", expected " << want.floats()[i]);
    CHECK(std::fabs(got.floats()[i] - want.floats()[i]) <= tolerance * std::fabs(want.floats()[i]));
  }
}

}  // namespace

TEST_CASE("pointwise ops broadcast and keep their dtype") {
  CHECK(run(Op::add, {floats({2, 1}, {1, 10}), floats({3}, {1, 2, 3})}) ==
        floats({2, 3}, {2, 3, 4, 11, 12, 13}));
  CHECK(run(Op::sub, {integers({2}, {1, 2}), integers({}, {5})}) == integers({2}, {-4, -3}));
  CHECK(run(Op::lt, {floats({3}, {1, 2, 3}), floats({1}, {2})}) == integers({3}, {1, 0, 0}, DType::boolean));
  CHECK(run(Op::where, {integers({2}, {1, 0}, DType::boolean), floats({1}, {5}), floats({2}, {6, 7})}) ==
        floats({2}, {5, 7}));
  CHECK(run(Op::relu, {floats({3}, {-1, 0, 2})}) == floats({3}, {0, 0, 2}));
  check_close(run(Op::gelu, {floats({3}, {-5, 0.5, 2})}),
              floats({3}, {-1.433257859e-6, 0.345731230, 1.954499736}), 1e-6);
  // PyTorch's gelu(approximate="tanh") and softplus.
  check_close(run(Op::gelu_tanh, {floats({4}, {-5, -0.5, 0.5, 2})}),
              floats({4}, {-2.291796197e-07, -0.1542859902, 0.3457140098, 1.954597694}), 1e-6);
  check_close(run(Op::softplus, {floats({4}, {-30, -1, 0, 5})}),
              floats({4}, {9.357622969e-14, 0.3132616875, 0.6931471806, 5.006715348}));
  check_close(run(Op::log1p, {floats({2}, {1e-12, 1})}), floats({2}, {1e-12, 0.6931471806}));
  check_close(run(Op::expm1, {floats({2}, {1e-12, 1})}), floats({2}, {1e-12, 1.718281828}));
  check_close(run(Op::silu, {floats({2}, {-1, 2})}), floats({2}, {-0.2689414214, 1.761594156}));
  check_close(run(Op::pow, {floats({2}, {2, 9}), floats({2}, {10, 0.5})}), floats({2}, {1024, 3}));
  CHECK(run(Op::add, {floats({0, 3}, {}), floats({3}, {1, 2, 3})}) == floats({0, 3}, {}));
}

TEST_CASE("results are rounded to their dtype") {
  CHECK(run(Op::add, {floats({1}, {1}), floats({1}, {1e-9})}).floats()[0] == 1.0);
  CHECK(run(Op::mul, {floats({1}, {1e30}), floats({1}, {1e30})}).floats()[0] ==
        std::numeric_limits<double>::infinity());
  // bf16 keeps 8 bits: 1 + 1/256 lies half way between 1 and 1 + 1/128, and 1 is even.
  CHECK(run(Op::add, {floats({1}, {1}, DType::bf16), floats({1}, {0.00390625}, DType::bf16)}).floats()[0] ==
        1.0);
  CHECK(run(Op::div, {floats({1}, {1}, DType::f16), floats({1}, {3}, DType::f16)}).floats()[0] ==
        0.333251953125);
  CHECK(run(Op::add, {integers({1}, {200}, DType::u8), integers({1}, {100}, DType::u8)}).integers()[0] == 44);
  CHECK(
      run(Op::mul, {integers({1}, {65536}, DType::i32), integers({1}, {65536}, DType::i32)}).integers()[0] ==
      0);
  int64_t beyond = (int64_t{1} << 53) + 1;
  CHECK(run(Op::add, {integers({1}, {beyond}), integers({1}, {2})}).integers()[0] == beyond + 2);
}

TEST_CASE("casts truncate, saturate, wrap and round") {
  auto cast = [](Value value, DType to) { return run(Op::cast, {value}, {{"dtype", to}}); };
  CHECK(cast(floats({5}, {-1.9, 2.9, 1e10, -1e10, kNaN}), DType::i32).integers() ==
        Value::Integers{-1, 2, 2147483647, -2147483648, 0});
  CHECK(cast(floats({3}, {-3, 255.5, 300}), DType::u8).integers() == Value::Integers{0, 255, 255});
  CHECK(cast(integers({2}, {-1, 257}), DType::u8).integers() == Value::Integers{255, 1});
  CHECK(cast(integers({2}, {256, 0}), DType::boolean).integers() == Value::Integers{1, 0});
  CHECK(cast(integers({1}, {16777217}), DType::f32).floats()[0] == 16777216.0);
  // Just above half way between two floats; a double on the way would make it a tie, and even is below.
  int64_t above_half = (int64_t{1} << 60) + (int64_t{1} << 36) + 1;
  CHECK(cast(integers({1}, {above_half}), DType::f32).floats()[0] == 0x1.000002p60);
  CHECK(cast(floats({1}, {1.00390625}), DType::bf16).floats()[0] == 1.0);
}

TEST_CASE("creation") {
  CHECK(run(Op::full, {}, {{"shape", Ints{2}}, {"value", 2.0}, {"dtype", DType::i32}}) ==
        integers({2}, {2, 2}, DType::i32));
  CHECK(run(Op::full, {}, {{"shape", Ints{}}, {"value", 0.1}}).floats()[0] == static_cast<double>(0.1f));
  CHECK(run(Op::arange, {}, {{"count", int64_t{3}}, {"start", 5.0}, {"step", -2.0}}) ==
        integers({3}, {5, 3, 1}));
  // Word 0 of Philox block 0 with key 0 is 0x6627e8d5.
  CHECK(run(Op::rand, {}, {{"shape", Ints{1}}}).floats()[0] == (0x6627e8d5 >> 8) / 16777216.0);
  CHECK(run(Op::rand, {}, {{"shape", Ints{1}}, {"dtype", DType::bf16}}).floats()[0] ==
        (0x6627e8d5 >> 24) / 256.0);
}

TEST_CASE("reductions") {
  Value x = floats({2, 3}, {1, 5, 3, 4, 2, 6});
  CHECK(run(Op::sum, {x}) == floats({}, {21}));
  CHECK(run(Op::sum, {x}, {{"dims", Ints{0}}}) == floats({3}, {5, 7, 9}));
  CHECK(run(Op::mean, {x}, {{"dims", Ints{1}}, {"keepdim", true}}) == floats({2, 1}, {3, 4}));
  CHECK(run(Op::prod, {x}, {{"dims", Ints{1}}}) == floats({2}, {15, 48}));
  CHECK(run(Op::max, {x}, {{"dims", Ints{0}}}) == floats({3}, {4, 5, 6}));
  CHECK(run(Op::min, {x}, {{"dims", Ints{0, 1}}, {"keepdim", true}}) == floats({1, 1}, {1}));
  CHECK(run(Op::argmax, {x}, {{"dim", int64_t{1}}}) == integers({2}, {1, 2}));
  CHECK(run(Op::argmin, {x}, {{"dim", int64_t{0}}}) == integers({3}, {0, 1, 0}));
  CHECK(run(Op::argmax, {floats({4}, {2, 7, 7, 1})}, {{"dim", int64_t{0}}}) == integers({}, {1}));
  CHECK(run(Op::argmax, {floats({4}, {2, kNaN, 7, kNaN})}, {{"dim", int64_t{0}}}) == integers({}, {1}));
  CHECK(std::isnan(run(Op::max, {floats({3}, {2, kNaN, 7})}).floats()[0]));
  CHECK(run(Op::sum, {integers({3}, {1, 1, 0}, DType::boolean)}) == integers({}, {2}));
  CHECK(run(Op::prod, {integers({2}, {200, 2}, DType::u8)}) == integers({}, {400}));
  CHECK(run(Op::sum, {floats({0, 2}, {})}, {{"dims", Ints{0}}}) == floats({2}, {0, 0}));
  CHECK(run(Op::max, {integers({3}, {4, 9, 2}, DType::i32)}) == integers({}, {9}, DType::i32));
}

TEST_CASE("normalisation") {
  check_close(run(Op::softmax, {floats({1, 2}, {0, std::log(3.0)})}), floats({1, 2}, {0.25, 0.75}));
  check_close(run(Op::softmax, {floats({2, 2}, {0, 1000, 0, 1000})}, {{"dim", int64_t{0}}}),
              floats({2, 2}, {0.5, 0.5, 0.5, 0.5}));
  // mean(x^2) = 12.5; eps 3.5 makes the root 4.
  check_close(run(Op::rms_norm, {floats({2}, {3, 4}), floats({2}, {1, 2})}, {{"eps", 3.5}}),
              floats({2}, {0.75, 2}));
  // mean 2, variance 1, eps 3: halves.
  check_close(
      run(Op::layer_norm, {floats({2}, {1, 3}), floats({2}, {2, 4}), floats({2}, {10, 20})}, {{"eps", 3.0}}),
      floats({2}, {9, 22}));
}

TEST_CASE("matmul broadcasts its leading dimensions, linear transposes its weight") {
  Value a = floats({2, 2}, {1, 2, 3, 4});
  Value b = floats({2, 3}, {1, 0, 2, 0, 1, 3});
  CHECK(run(Op::matmul, {a, b}) == floats({2, 3}, {1, 2, 8, 3, 4, 18}));
  CHECK(run(Op::matmul, {floats({2, 1, 2}, {1, 2, 3, 4}), b}) == floats({2, 1, 3}, {1, 2, 8, 3, 4, 18}));
  CHECK(run(Op::matmul, {floats({1, 2}, {1, 1}), floats({2, 2, 1}, {1, 2, 3, 4})}) ==
        floats({2, 1, 1}, {3, 7}));
  CHECK(run(Op::matmul, {floats({2, 0}, {}), floats({0, 1}, {})}) == floats({2, 1}, {0, 0}));
  CHECK(run(Op::linear, {floats({2}, {1, 2}), floats({3, 2}, {1, 0, 0, 1, 1, 1}),
                         floats({3}, {10, 20, 30})}) == floats({3}, {11, 22, 33}));
}

TEST_CASE("products with vectors") {
  const Value v = floats({3}, {1, 2, 3}), m = floats({3, 2}, {1, 4, 2, 5, 3, 6});
  CHECK(run(Op::matmul, {v, v}) == floats({}, {14}));
  CHECK(run(Op::matmul, {v, m}) == floats({2}, {14, 32}));
  CHECK(run(Op::matmul, {floats({1, 2, 3}, {1, 0, 0, 1, 1, 1}), v}) == floats({1, 2}, {1, 6}));
  CHECK(run(Op::matmul, {v, floats({2, 3, 1}, {1, 0, 0, 0, 0, 1})}) == floats({2, 1}, {1, 3}));
}

TEST_CASE("running totals") {
  const Value x = integers({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(run(Op::cumsum, {x}, {{"dim", int64_t{0}}}) == integers({2, 3}, {1, 2, 3, 5, 7, 9}));
  CHECK(run(Op::cumprod, {x}, {{"dim", int64_t{-1}}}) == integers({2, 3}, {1, 2, 6, 4, 20, 120}));
  CHECK(run(Op::cumsum, {integers({3}, {1, 1, 0}, DType::boolean)}, {{"dim", int64_t{0}}}) ==
        integers({3}, {1, 2, 2}));
}

TEST_CASE("reductions to one bool, and norms") {
  const Value x = floats({2, 3}, {0, kNaN, 0, 0, 0, 0}), e = floats({0, 2}, {});
  const Attributes rows{{"dims", Ints{1}}}, columns{{"dims", Ints{0}}};
  CHECK(run(Op::any, {x}, rows) == integers({2}, {1, 0}, DType::boolean));
  CHECK(run(Op::all, {x}, columns) == integers({3}, {0, 0, 0}, DType::boolean));
  CHECK(run(Op::all, {integers({2, 2}, {1, 2, 3, 0})}, rows) == integers({2}, {1, 0}, DType::boolean));
  CHECK(run(Op::any, {e}, columns) == integers({2}, {0, 0}, DType::boolean));
  CHECK(run(Op::all, {e}, columns) == integers({2}, {1, 1}, DType::boolean));
  const Value y = floats({2, 2}, {3, -4, 1, 2});  // PyTorch's: 5, 2.236068; 7, 3; 3, 4
  check_close(run(Op::norm, {y}, rows), floats({2}, {5, 2.236068010}));
  CHECK(run(Op::norm, {y}, {{"p", 1.0}, {"dims", Ints{1}}}) == floats({2}, {7, 3}));
  CHECK(run(Op::norm, {y}, {{"p", std::numeric_limits<double>::infinity()}, {"dims", Ints{0}}}) ==
        floats({2}, {3, 4}));
}

// The numbers of the tests of gather, scatter_add, pad and the convolutions are PyTorch's.
TEST_CASE("an index for each element") {
  const Value x = floats({3, 2}, {1, 2, 3, 4, 5, 6});
  const Attributes first{{"dim", int64_t{0}}};
  CHECK(run(Op::gather, {x, integers({2, 2}, {2, 0, 0, 1})}, first) == floats({2, 2}, {5, 2, 1, 4}));
  CHECK(run(Op::gather, {x, integers({3, 1}, {1, 0, 1})}, {{"dim", int64_t{1}}}) ==
        floats({3, 1}, {2, 3, 6}));
  CHECK(run(Op::gather, {integers({2}, {7, 8}), integers({3}, {1, -1, 2}, DType::i32)}, first) ==
        integers({3}, {8, 0, 0}));
  const Value index = integers({3, 2}, {0, 1, 0, 2, 2, 1});
  CHECK(run(Op::scatter_add, {floats({3, 2}, {0, 0, 0, 0, 0, 0}), index, x}, first) ==
        floats({3, 2}, {4, 0, 0, 8, 5, 4}));
  CHECK(run(Op::scatter, {x, integers({2, 1}, {2, 2}), floats({2, 1}, {8, 9})}, first) ==
        floats({3, 2}, {1, 2, 3, 4, 9, 6}));
  CHECK(
      run(Op::scatter_add,
          {integers({2}, {250, 1}, DType::u8), integers({3}, {0, 3, 0}), integers({3}, {5, 9, 3}, DType::u8)},
          first) == integers({2}, {2, 1}, DType::u8));
}

TEST_CASE("what is repeated, surrounded and marked") {
  const Value x = integers({2, 2}, {0, 1, 2, 3});
  CHECK(run(Op::tile, {x}, {{"repeats", Ints{2, 1, 2}}}) ==
        integers({2, 2, 4}, {0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3}));
  CHECK(run(Op::pad, {x}, {{"padding", Ints{1, 0, 0, 2}}, {"value", 9.0}}) ==
        integers({4, 3}, {9, 0, 1, 9, 2, 3, 9, 9, 9, 9, 9, 9}));
  CHECK(run(Op::one_hot, {integers({3}, {2, 0, 3})}, {{"classes", int64_t{3}}}) ==
        integers({3, 3}, {0, 0, 1, 1, 0, 0, 0, 0, 0}));
  CHECK(run(Op::masked_fill, {x, integers({2}, {0, 1}, DType::boolean)}, {{"value", -1.0}}) ==
        integers({2, 2}, {0, -1, 2, -1}));
}

TEST_CASE("convolutions") {
  Value x = floats({1, 2, 6}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  const Value w = floats({2, 2, 3}, {1, 0, -1, 2, 1, 0, 0, 1, 0, 1, 1, 1}), b = floats({2}, {10, 20});
  CHECK(run(Op::conv1d, {x, w, b}) == floats({1, 2, 4}, {30, 33, 36, 39, 46, 50, 54, 58}));
  CHECK(run(Op::conv1d, {x, w, b}, {{"stride", Ints{2}}, {"padding", Ints{1}}}) ==
        floats({1, 2, 3}, {15, 33, 39, 36, 50, 58}));
  CHECK(run(Op::conv1d, {x, w}, {{"dilation", Ints{2}}}) == floats({1, 2, 2}, {19, 22, 30, 34}));
  CHECK(run(Op::conv1d, {x, floats({2, 1, 3}, {1, 0, -1, 2, 1, 0})}, {{"groups", int64_t{2}}}) ==
        floats({1, 2, 4}, {-2, -2, -2, -2, 22, 25, 28, 31}));
  Value::Floats numbers;
  for (int i = 0; i < 16; ++i) numbers.push_back(i);
  x = floats({1, 1, 4, 4}, numbers);
  const Value v = floats({1, 1, 2, 2}, {1, 2, 3, 4});
  CHECK(run(Op::conv2d, {x, v}) == floats({1, 1, 3, 3}, {34, 44, 54, 74, 84, 94, 114, 124, 134}));
  CHECK(run(Op::conv2d, {x, v}, {{"stride", Ints{2, 1}}, {"padding", Ints{0, 1}}}) ==
        floats({1, 1, 2, 5}, {16, 34, 44, 54, 24, 64, 114, 124, 134, 56}));
  CHECK(run(Op::conv2d, {x, v}, {{"dilation", Ints{2}}}) == floats({1, 1, 2, 2}, {68, 78, 108, 118}));
}

TEST_CASE("lookups read zeros or NaN outside") {
  Value table = floats({2, 2}, {1, 2, 3, 4});
  Value rows = run(Op::embedding, {integers({3}, {1, 0, 2}), table});
  CHECK(rows.type.shape == Shape{3, 2});
  CHECK(Value::Floats(rows.floats().begin(), rows.floats().begin() + 4) == Value::Floats{3, 4, 1, 2});
  CHECK(std::isnan(rows.floats()[5]));
  CHECK(run(Op::index_select, {integers({2, 2}, {1, 2, 3, 4}), integers({3}, {1, -1, 0})},
            {{"dim", int64_t{1}}}) == integers({2, 3}, {2, 0, 1, 4, 0, 3}));
  CHECK(run(Op::index_copy, {table, integers({2}, {5, 0}), floats({2, 2}, {7, 8, 9, 10})},
            {{"dim", int64_t{0}}}) == floats({2, 2}, {9, 10, 3, 4}));
}

TEST_CASE("views and joins") {
  Value x = integers({2, 3}, {1, 2, 3, 4, 5, 6});
  CHECK(run(Op::reshape, {x}, {{"shape", Ints{3, -1}}}) == integers({3, 2}, {1, 2, 3, 4, 5, 6}));
  CHECK(run(Op::permute, {x}, {{"dims", Ints{1, 0}}}) == integers({3, 2}, {1, 4, 2, 5, 3, 6}));
  CHECK(run(Op::permute, {integers({1, 2, 3}, {1, 2, 3, 4, 5, 6})}, {{"dims", Ints{2, 0, 1}}}) ==
        integers({3, 1, 2}, {1, 4, 2, 5, 3, 6}));
  CHECK(run(Op::transpose, {x}) == integers({3, 2}, {1, 4, 2, 5, 3, 6}));
  CHECK(run(Op::unfold, {integers({6}, {0, 1, 2, 3, 4, 5})},
            {{"dim", int64_t{0}}, {"size", int64_t{3}}, {"step", int64_t{2}}}) ==
        integers({2, 3}, {0, 1, 2, 2, 3, 4}));
  CHECK(run(Op::slice, {x},
            {{"dim", int64_t{1}}, {"start", int64_t{0}}, {"stop", int64_t{3}}, {"step", int64_t{2}}}) ==
        integers({2, 2}, {1, 3, 4, 6}));
  CHECK(run(Op::expand, {integers({2, 1}, {1, 2})}, {{"shape", Ints{2, 2, 2}}}) ==
        integers({2, 2, 2}, {1, 1, 2, 2, 1, 1, 2, 2}));
  CHECK(run(Op::shard, {x}, {{"dim", int64_t{0}}, {"group", Group{{3, 7}}}}, 7) ==
        integers({1, 3}, {4, 5, 6}));
  CHECK(run(Op::cat, {x, integers({2, 1}, {7, 8})}, {{"dim", int64_t{1}}}) ==
        integers({2, 4}, {1, 2, 3, 7, 4, 5, 6, 8}));
  CHECK(run(Op::stack, {integers({2}, {1, 2}), integers({2}, {3, 4})}, {{"dim", int64_t{1}}}) ==
        integers({2, 2}, {1, 3, 2, 4}));
  CHECK(run(Op::copy_to, {x}, {{"place", Place::host}}).type.place == Place::host);
}

TEST_CASE("rope turns halves by position times a falling frequency") {
  // d = 4: pairs (0, 2) and (1, 3); frequencies 1 and 100^(-1/2) = 0.1.
  Value x = floats({2, 1, 4}, {1, 2, 3, 4, 1, 2, 3, 4});
  Value got = run(Op::rope, {x, integers({2}, {0, 2})}, {{"base", 100.0}});
  double c = std::cos(2.0), s = std::sin(2.0), c1 = std::cos(0.2), s1 = std::sin(0.2);
  check_close(got, floats({2, 1, 4}, {1, 2, 3, 4, c - 3 * s, 2 * c1 - 4 * s1, 3 * c + s, 4 * c1 + 2 * s1}));
}

TEST_CASE("attention is causal, groups its heads and takes positions") {
  // One query head of width 1, scale 1: weights are the softmax of q * k.
  Value q = floats({2, 1, 1}, {1, 1}), k = floats({2, 1, 1}, {0, std::log(3.0)}),
        v = floats({2, 1, 1}, {4, 8});
  check_close(run(Op::attention, {q, k, v}, {{"scale", 1.0}}), floats({2, 1, 1}, {4, 7}));
  check_close(run(Op::attention, {q, k, v}, {{"scale", 1.0}, {"causal", false}}), floats({2, 1, 1}, {7, 7}));
  check_close(run(Op::attention, {q, k, v, integers({2}, {1, 0})}, {{"scale", 1.0}}),
              floats({2, 1, 1}, {7, 4}));
  // The last query of fewer than there are keys sees all of them.
  check_close(run(Op::attention, {floats({1, 1, 1}, {1}), k, v}, {{"scale", 1.0}}), floats({1, 1, 1}, {7}));
  // Four query heads on two key heads: heads 0 and 1 use key head 0, heads 2 and 3 key head 1.
  check_close(run(Op::attention,
                  {floats({1, 4, 1}, {1, 2, 3, 4}), floats({1, 2, 1}, {1, 1}), floats({1, 2, 1}, {5, 6})}),
              floats({1, 4, 1}, {5, 5, 6, 6}));
  // The default scale is 1 / sqrt(d): q.k = 2 log 3, d = 4.
  Value wide = floats({1, 1, 4}, {1, 1, 1, 1});
  Value keys = floats(
      {2, 1, 4}, {0, 0, 0, 0, std::log(3.0) / 2, std::log(3.0) / 2, std::log(3.0) / 2, std::log(3.0) / 2});
  check_close(run(Op::attention, {wide, keys, floats({2, 1, 4}, {4, 4, 4, 4, 8, 8, 8, 8})}),
              floats({1, 1, 4}, {7, 7, 7, 7}));
}
