// The reference interpreter: what a program means. It runs all ranks in lock step in one process, in double
// precision, each node's value rounded to its dtype, as plainly as possible. Kernels share nothing with it
// but the scalar expressions of the table and the random numbers; everything else is tested against it.
#pragma once

#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "core/graph/graph.hpp"

namespace peri {

// A tensor of the reference. Elements in row-major order: double for the float dtypes, int64 for integers and
// bool (0 or 1), so that no dtype loses anything.
struct Value {
  using Floats = std::vector<double>;
  using Integers = std::vector<int64_t>;
  TensorType type;
  std::variant<Floats, Integers> elements;

  const Floats& floats() const { return std::get<Floats>(elements); }
  const Integers& integers() const { return std::get<Integers>(elements); }
  bool operator==(const Value&) const = default;
};

// A value of `type` with all elements 0 (in the alternative that its dtype asks for).
Value zeros(const TensorType& type);
// What `value` becomes when stored as the float dtype `t`: as round_to, and f32 rounds too.
double store(DType t, double value);

// What one rank's program is called with, each by its index.
struct Arguments {
  std::vector<Value> inputs, constants;
};

// Makes the reference as inaccurate as a correct implementation may be: operands of sums and norms, and every
// inexact result, are off by a random part of their row's tolerance, 16-bit results by up to one unit in the
// last place more. The spread of several noisy runs around the exact one is the error that a whole program
// may show.
struct Perturbation {
  uint64_t seed;
};

// Runs `programs[r]` with `arguments[r]` on rank r of a world of arguments.size() ranks. Result: [rank][i] is
// the value of outputs()[i] of that rank's program, mutated inputs included. Errors: InvalidArgument
// (arguments do not fit the program; a rank is not in a group it uses), RankMismatch (collectives that never
// meet, or meet with other types; a message nobody takes). A send does not wait for its recv.
Result<std::vector<std::vector<Value>>> interpret(std::span<const Graph* const> programs,
                                                  std::span<const Arguments> arguments,
                                                  std::optional<Perturbation> perturbation = std::nullopt);
// The same program on every rank.
Result<std::vector<std::vector<Value>>> interpret(const Graph& program, std::span<const Arguments> arguments,
                                                  std::optional<Perturbation> perturbation = std::nullopt);
// One op alone, composites included, not sources and collectives: completes the attributes, infers and
// computes its first result.
Result<Value> interpret(Op op, std::span<const Value> operands, const Attributes& attributes, int rank = 0);
// All results of an op that has several.
Result<std::vector<Value>> interpret_results(Op op, std::span<const Value> operands,
                                             const Attributes& attributes, int rank = 0);

}  // namespace peri
