// The comparison of random_program.hpp with its error model.
#include <cmath>

#include <fmt/format.h>

#include "tests/support/random_program.hpp"

namespace peri::testing {
namespace {

constexpr double kOfOwnScatter = 4, kOfMeanScatter = 4, kOfLastPlace = 2;

double last_place(DType t) {
  switch (t) {
    case DType::bf16:
      return 0x1p-7;
    case DType::f16:
      return 0x1p-10;
    case DType::f32:
      return 0x1p-23;
    case DType::i32:
    case DType::i64:
    case DType::u8:
    case DType::boolean:
      break;
  }
  PERI_CHECK(false, "not a float dtype");
}

bool same(double a, double b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

std::string at(size_t element, auto got, auto want) {
  return fmt::format("element {} is {}, expected {}", element, got, want);
}

std::string difference_of_floats(const Value& got, const Value& want,
                                 const std::vector<const Value*>& noisy) {
  size_t count = want.floats().size();
  std::vector<double> scatter(count);
  double mean = 0;
  for (size_t i = 0; i < count; ++i) {
    for (const Value* run : noisy)
      scatter[i] = std::fmax(scatter[i], std::fabs(run->floats()[i] - want.floats()[i]));
    mean += scatter[i] / static_cast<double>(count);
  }
  for (size_t i = 0; i < count; ++i) {
    double x = got.floats()[i], y = want.floats()[i];
    double allowed = kOfOwnScatter * scatter[i] + kOfMeanScatter * mean +
                     kOfLastPlace * last_place(want.type.dtype) * std::fabs(y);
    if (same(x, y) || std::fabs(x - y) <= allowed) continue;
    return at(i, x, y) + fmt::format(" within {}", allowed);
  }
  return {};
}

}  // namespace

Result<Expected> expect(const Graph& program, std::span<const Arguments> arguments) {
  Expected expected;
  expected.exact = PERI_TRY(interpret(program, arguments));
  for (uint64_t run = 1; run <= kNoisyRuns; ++run)
    expected.noisy.push_back(PERI_TRY(interpret(program, arguments, Perturbation{run})));
  return expected;
}

std::string difference(const Value& got, const Expected& expected, size_t rank, size_t output) {
  const Value& want = expected.exact[rank][output];
  if (got.type != want.type)
    return fmt::format("it is {}, expected {}", got.type.to_string(), want.type.to_string());
  if (!is_float(want.type.dtype)) {
    for (size_t i = 0; i < want.integers().size(); ++i)
      if (got.integers()[i] != want.integers()[i]) return at(i, got.integers()[i], want.integers()[i]);
    return {};
  }
  std::vector<const Value*> noisy;
  for (const auto& run : expected.noisy) noisy.push_back(&run[rank][output]);
  return difference_of_floats(got, want, noisy);
}

}  // namespace peri::testing
