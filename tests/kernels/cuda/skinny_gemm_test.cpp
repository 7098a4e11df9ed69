// Products of few rows: against sums in double, their bits from run to run and at any address, and which
// products are taken.
#include <catch2/catch.hpp>

#include <cmath>

#include "kernels/cuda/matmul/matmul.hpp"
#include "tests/kernels/kernel_runner.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::kernels::cuda;
using namespace peri::testing;

namespace {

// A matrix whose rows (or, transposed, columns) are `gap` elements apart.
Window with_gaps(const Value& value, bool transposed, int64_t gap, int64_t shift = 0) {
  const int64_t rows = value.type.shape[0], columns = value.type.shape[1];
  const int64_t leading = (transposed ? rows : columns) + gap;
  Window window = blank({value.type.dtype, {(transposed ? columns : rows) * leading + shift}});
  window.view = {{rows, columns},
                 {transposed ? 1 : leading, transposed ? leading : 1},
                 window.view.offset + Elements(shift)};
  for_each_element(window.view, [&](int64_t i, int64_t offset) {
    store_element(window.memory->data() + offset * size_of(window.dtype), value, static_cast<size_t>(i));
  });
  return window;
}

Window product(const Value& a, const Value& b, bool transposed, int64_t gap, int64_t shift = 0) {
  const std::vector inputs = {with_gaps(a, false, gap, shift), with_gaps(b, transposed, gap, shift)};
  const Shape shape{a.type.shape[0], b.type.shape[1]};
  Window out = with_gaps(zeros({a.type.dtype, shape}), false, gap ? 5 : 0, shift);
  auto done = launch({.op = Op::matmul}, inputs, std::span(&out, 1));
  REQUIRE((done ? "" : done.error().to_string()) == "");
  CHECK(is_clean_outside(out));
  return out;
}

// The most by which an element differs from the sum in double, over what rounding allows: half a unit of the
// last place, and the additions in f32.
double error(const Value& got, const Value& a, const Value& b) {
  const int64_t m = a.type.shape[0], k = a.type.shape[1], n = b.type.shape[1];
  const double unit = got.type.dtype == DType::bf16 ? std::ldexp(1, -8) : std::ldexp(1, -11);
  double worst = 0;
  std::vector<double> sum(static_cast<size_t>(n)), size(static_cast<size_t>(n));
  for (int64_t i = 0; i < m; ++i) {
    std::ranges::fill(sum, 0);
    std::ranges::fill(size, 0);
    for (int64_t l = 0; l < k; ++l) {
      const double x = a.floats()[i * k + l];
      const double* row = &b.floats()[l * n];
      for (int64_t j = 0; j < n; ++j) {
        sum[j] += x * row[j];
        size[j] += std::abs(x * row[j]);
      }
    }
    for (int64_t j = 0; j < n; ++j) {
      const double off = std::abs(got.floats()[i * n + j] - sum[j]) /
                         (1.01 * unit * std::abs(sum[j]) + 2e-6 * size[j] + 1e-6);
      worst = off <= worst ? worst : off;  // a NaN is the worst
    }
  }
  return worst;
}

constexpr std::array<int64_t, 2> kSizes[] = {{8, 8},      {24, 40},   {72, 264},   {56, 2056},
                                             {264, 4104}, {4096, 64}, {1000, 520}, {8456, 256}};

cuda::BlasGemm plain(DType dtype, int64_t m, int64_t n, int64_t k, bool transposed = false) {
  return {dtype,
          {{}, std::vector<Strides>(3)},
          {m, n, n, false},
          {m, k, k, false},
          {k, n, transposed ? k : n, transposed},
          false};
}

}  // namespace

TEST_CASE("products of 1 to 17 rows agree with sums in double") {
  Random random(21);
  for (DType dtype : {DType::bf16, DType::f16})
    for (auto [n, k] : kSizes) {
      const Value b = random_value(random, dtype, {k, n});
      for (int64_t m : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}) {
        const Value a = random_value(random, dtype, {m, k});
        for (bool transposed : {false, true}) {
          INFO(m << " x " << n << " x " << k << (transposed ? " transposed " : " ") << to_string(dtype));
          CHECK(error(read(product(a, b, transposed, 8 * (m % 2))), a, b) <= 1);
        }
      }
    }
}

TEST_CASE("transposed matrices of any number of columns") {
  Random random(22);
  for (int64_t n : {1, 3, 63, 65, 131}) {
    const Value a = random_value(random, DType::bf16, {3, 328}),
                b = random_value(random, DType::bf16, {328, n});
    CHECK(error(read(product(a, b, true, 0)), a, b) <= 1);
  }
}

TEST_CASE("products of few rows have the same bits from run to run and at any address") {
  Random random(23);
  for (DType dtype : {DType::bf16, DType::f16})
    for (int64_t m : {1, 7, 12, 16})
      for (bool transposed : {false, true}) {
        const Value a = random_value(random, dtype, {m, 2056}), b = random_value(random, dtype, {2056, 328});
        const std::string first = bits(product(a, b, transposed, 0));
        for (int run = 0; run < 5; ++run) CHECK((bits(product(a, b, transposed, 0)) == first));
        for (int64_t shift : {1, 4}) CHECK((bits(product(a, b, transposed, 0, shift)) == first));
        CHECK((bits(product(a, b, transposed, 8)) == first));
      }
}

TEST_CASE("infinities stay in their columns and rows") {
  Value a = zeros({DType::bf16, {3, 64}}), b = zeros({DType::bf16, {64, 72}});
  std::ranges::fill(std::get<Value::Floats>(a.elements), 1);
  std::get<Value::Floats>(a.elements)[64 + 5] = INFINITY;
  std::get<Value::Floats>(b.elements)[9 * 72 + 71] = -INFINITY;
  std::get<Value::Floats>(b.elements)[5 * 72 + 1] = 2;
  for (bool transposed : {false, true}) {
    const Value c = read(product(a, b, transposed, 8));
    CHECK(c.floats()[0] == 0);
    CHECK(c.floats()[1] == 2);
    CHECK(c.floats()[71] == -INFINITY);
    CHECK(c.floats()[72 + 1] == INFINITY);
    CHECK(std::isnan(c.floats()[72]));  // infinity times 0
    CHECK(c.floats()[2 * 72 + 70] == 0);
  }
}

TEST_CASE("which products the kernels for few rows take, and on how many blocks", "[no_device]") {
  auto cluster = [](const cuda::BlasGemm& p, int multiprocessors = 132) {
    const auto skinny = cuda::skinny_gemm_of(p, multiprocessors);
    return skinny ? skinny->cluster : 0;
  };
  using enum DType;
  CHECK(cluster(plain(bf16, 1, 4096, 4096)) == 2);         // 64 groups of columns: 128 of 132 places
  CHECK(cluster(plain(bf16, 16, 4096, 4096, true)) == 2);  // either layout
  CHECK(cluster(plain(bf16, 1, 7168, 4096)) == 1);
  CHECK(cluster(plain(bf16, 1, 14336, 4096)) == 0);  // more groups than places
  CHECK(cluster(plain(bf16, 1, 1024, 4096)) == 8);   // no larger cluster
  CHECK(cluster(plain(bf16, 1, 1024, 1024)) == 2);   // no more of k to share
  CHECK(cluster(plain(bf16, 1, 4096, 4096), 114) == 1);
  CHECK(cluster(plain(bf16, 16, 64, 8)) == 1);
  CHECK(cluster(plain(bf16, 17, 4096, 4096)) == 0);
  CHECK(cluster(plain(f32, 1, 4096, 4096)) == 0);
  CHECK(cluster(plain(bf16, 1, 4096, 4095)) == 0);
  CHECK(cluster(plain(bf16, 1, 4095, 4096)) == 0);
  CHECK(cluster(plain(bf16, 1, 4095, 4096, true)) == 2);
  cuda::BlasGemm batch = plain(bf16, 1, 64, 64);
  batch.batch.shape = {3};
  batch.batch.strides = {{64}, {64}, {64 * 64}};
  CHECK(cluster(batch) == 0);
  cuda::BlasGemm odd = plain(bf16, 2, 64, 64);
  odd.a.leading = 65;
  CHECK(cluster(odd) == 0);
}
