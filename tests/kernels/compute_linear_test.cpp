// Matrix products and what works on rows: softmax and the norms.
#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/host/simd/isa.hpp"
#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::testing;

TEST_CASE("matmul agrees with the reference over shapes, dtypes and layouts") {
  Random random(1);
  struct Case {
    Shape a, b;
  };
  const Case cases[] = {{{1, 1}, {1, 1}},       {{1, 70}, {70, 33}},
                        {{3, 5}, {5, 7}},       {{9, 33}, {33, 17}},
                        {{40, 64}, {64, 3}},    {{17, 40}, {40, 70}},
                        {{2, 3, 5}, {5, 4}},    {{2, 1, 12, 5}, {3, 5, 11}},
                        {{4, 9, 8}, {4, 8, 9}}, {{5, 10}, {3, 10, 12}},
                        {{3, 0}, {0, 4}},       {{0, 3}, {3, 4}},
                        {{2, 3}, {3, 0}},       {{0, 9, 3}, {3, 10}},
                        {{12, 10, 3}, {3, 10}}, {{6, 1, 32}, {6, 32, 40}},
                        {{70}, {70}},           {{70}, {70, 33}},
                        {{33, 70}, {70}},       {{70}, {2, 3, 70, 5}},
                        {{2, 3, 5, 70}, {70}},  {{0}, {0}},
                        {{0}, {0, 3}},          {{3, 2}, {2}}};
  for (DType dtype : kFloats)
    for (const Case& c : cases)
      CHECK(disagreement(Op::matmul, {random_value(random, dtype, c.a), random_value(random, dtype, c.b)}) ==
            "");
}

TEST_CASE("larger products, cut into blocks, have the same bits on any threads and from run to run") {
  Random random(2);
  for (DType dtype : kFloats)
    for (auto [m, n, k] : {std::array<int64_t, 3>{130, 930, 600}, {930, 130, 600}, {2, 700, 300}}) {
      const std::vector<Value> operands = {random_value(random, dtype, {m, k}),
                                           random_value(random, dtype, {k, n})};
      std::string first;
      for (int threads : {1, 2, 5, 1}) {
        host::set_thread_count(threads);
        auto result = run_op(Op::matmul, operands, {});
        REQUIRE(result);
        if (first.empty()) first = bits(*result);
        CHECK((bits(*result) == first));
      }
      host::set_thread_count(1);
      CHECK(disagreement(Op::matmul, operands, {}, {Style::plain}) == "");
    }
}

// cuBLASLt chooses by the number of rows, and promises nothing.
TEST_CASE("a row of a small f32 or f16 product does not depend on the other rows", "[host]") {
  Random random(3);
  for (DType dtype : {DType::f32, DType::f16}) {
    const Value b = random_value(random, dtype, {100, 50});
    const Value a = random_value(random, dtype, {4, 100});
    Value row = zeros({dtype, {1, 100}});
    std::copy_n(a.floats().begin() + 300, 100, std::get<Value::Floats>(row.elements).begin());
    auto all = run_op(Op::matmul, std::vector{a, b}, {}), one = run_op(Op::matmul, std::vector{row, b}, {});
    const size_t bytes = 50 * static_cast<size_t>(size_of(dtype));
    CHECK((bits(*all).substr(3 * bytes, bytes) == bits(*one)));
  }
}

TEST_CASE("an expanded operand is read in place") {
  Random random(4);
  const Value b = random_value(random, DType::f32, {1, 12}), a = random_value(random, DType::f32, {20, 9});
  Window wide = place(b);
  wide.view = {{9, 12}, {0, 1}, wide.view.offset};  // the same row nine times
  Window out = blank({DType::f32, {20, 12}});
  REQUIRE(launch({.op = Op::matmul}, std::vector{place(a), wide}, std::span(&out, 1)));
  const Value result = read(out);
  for (int64_t i = 0; i < 20; ++i) {
    double sum = 0;
    for (int64_t k = 0; k < 9; ++k) sum += a.floats()[i * 9 + k];
    for (int64_t j = 0; j < 12; ++j)
      CHECK(result.floats()[i * 12 + j] == Approx(sum * b.floats()[j]).margin(1e-4));
  }
}

TEST_CASE("softmax and norms agree with the reference") {
  Random random(5);
  for (DType dtype : kFloats)
    for (const Shape& shape :
         {Shape{7}, Shape{1}, Shape{3, 0}, Shape{0, 3}, Shape{3, 1500}, Shape{1500, 3}, Shape{2, 3, 4, 5}}) {
      const Value x = random_value(random, dtype, shape, -8, 8);
      for (int64_t dim = 0; dim < shape.rank(); ++dim)
        CHECK(disagreement(Op::softmax, {x}, {{"dim", dim}}) == "");
      const Shape last{shape[shape.rank() - 1]};
      const Value weight = random_value(random, dtype, last), bias = random_value(random, dtype, last);
      CHECK(disagreement(Op::rms_norm, {x, weight}, {{"eps", 1e-3}}) == "");
      CHECK(disagreement(Op::layer_norm, {x, weight}) == "");
      CHECK(disagreement(Op::layer_norm, {x, weight, bias}) == "");
    }
}

TEST_CASE("softmax by hand: large numbers, infinities") {
  const Value x = floats({2, 3}, {1000, 1000, -INFINITY, 0, std::log(3.0), -INFINITY});
  const Value y = read(*run_op(Op::softmax, std::span(&x, 1), {}));
  const double expected[] = {0.5, 0.5, 0, 0.25, 0.75, 0};
  for (int i = 0; i < 6; ++i) CHECK(y.floats()[i] == Approx(expected[i]).margin(1e-6));
}

TEST_CASE("calls that contradict the op's rule are refused") {
  auto code = [](const KernelSpec& spec, std::vector<OperandType> in, std::vector<OperandType> out) {
    auto kernel = host::compile_kernel(spec, in, out);
    return kernel ? "compiled" : std::string(to_string(kernel.error().code));
  };
  const OperandType a{DType::f32, View::contiguous({3, 4})}, b{DType::f32, View::contiguous({4, 5})},
      c{DType::f32, View::contiguous({3, 5})}, bf16{DType::bf16, View::contiguous({3, 5})};
  CHECK(code({.op = Op::matmul}, {a, b}, {c}) == "compiled");
  CHECK(code({.op = Op::matmul}, {b, a}, {c}) == "ShapeMismatch");
  CHECK(code({.op = Op::matmul}, {a, b}, {b}) == "ShapeMismatch");
  CHECK(code({.op = Op::matmul}, {a, b}, {bf16}) == "DTypeMismatch");
  CHECK(code({.op = Op::matmul}, {a}, {c}) == "InvalidArgument");
  CHECK(code({.op = Op::matmul}, {a, b}, {c, c}) == "InvalidArgument");
  CHECK(code({.op = Op::matmul}, {a, b}, {}) == "InvalidArgument");
  CHECK(code({.op = Op::softmax, .attributes = {{"dim", int64_t(2)}}}, {a}, {a}) != "compiled");
  CHECK(code({.op = Op::softmax, .attributes = {{"dims", int64_t(0)}}}, {a}, {a}) != "compiled");
  CHECK(code({.op = Op::all_reduce}, {a}, {a}) == "InvalidArgument");
  CHECK(code({.op = Op::permute, .attributes = {{"dims", Ints{1, 0}}}}, {a}, {a}) == "InvalidArgument");
  CHECK(code({.op = Op::add}, {a, a}, {a}) == "InvalidArgument");  // pointwise ops come as fused programs
  CHECK(code({.op = Op::contiguous}, {{DType::f32, {{3}, {1, 1}}}}, {{DType::f32, View::contiguous({3})}}) ==
        "InvalidArgument");
}

TEST_CASE("a kernel is compiled once per spec and types") {
  const OperandType a{DType::f32, View::contiguous({3, 4})}, turned{DType::f32, {{3, 4}, {1, 3}}};
  const KernelSpec spec{.op = Op::contiguous};
  auto first = host::compile_kernel(spec, std::span(&a, 1), std::span(&a, 1));
  auto again = host::compile_kernel(spec, std::span(&a, 1), std::span(&a, 1));
  auto other = host::compile_kernel(spec, std::span(&turned, 1), std::span(&a, 1));
  CHECK(first->get() == again->get());
  CHECK(first->get() != other->get());
}

TEST_CASE("threads, layouts and instruction sets change no bit of a softmax") {
  Random random(6);
  const Value x = random_value(random, DType::f32, {1100, 70}, -4, 4);
  std::string first;
  for (int threads : {1, 3})
    for (Style style : kStyles) {  // in some of them the lines lie side by side
      host::set_thread_count(threads);
      host::limit_isa(static_cast<host::Isa>(static_cast<int>(style) % 3));
      auto result = run_op(Op::softmax, std::span(&x, 1), {{"dim", int64_t(0)}}, style);
      if (first.empty()) first = bits(*result);
      CHECK((bits(*result) == first));
    }
  host::set_thread_count(1);
  host::limit_isa(host::Isa::avx512);
}
