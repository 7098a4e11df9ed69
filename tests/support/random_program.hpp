// Random programs from the op table, valid by construction, and the comparison of what an implementation
// makes of them with the reference. Deterministic on every machine: the same seed gives the same program and
// the same arguments.
//
// Programs stay clear of what the table leaves open, so that every difference is a defect: values stay finite
// and moderate (each value's range is known, and ops are chosen to suit it); indices are in range; and ops
// that jump (floor, comparisons, casts to integers, argmax, ...) only see values that every correct
// implementation has exactly.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/interpreter/interpreter.hpp"

namespace peri::testing {

struct ProgramOptions {
  int world = 1;       // collectives and shards use the group of all ranks
  int max_nodes = 30;  // about
  bool name_algorithms =
      false;  // collectives name one of their algorithms (no multicast), instead of leaving the choice open
  // Few square values that collectives, views and write-backs are made of again and again: what planning has
  // to tell apart.
  bool entangled = false;
  // Ends in layers: what is reduced, added to another value and normalised.
  bool layered = false;
};

// The same program for every rank.
Graph random_program(uint64_t seed, const ProgramOptions& options = {});
// Floats uniform in [-2, 2], i32 and i64 in [-8, 8], u8 in [0, 15]; different on every rank.
Arguments random_arguments(const Graph& graph, uint64_t seed, int rank);

// The ops of a family, for tests of what all of them promise; and whether the row of an op, which says
// `dtypes`, takes operands of `dtype`.
std::vector<Op> ops_of(Family family);
bool takes(DTypes dtypes, DType dtype);

// Ops that random_program never puts into a program.
std::vector<Op> ops_left_out();

// What a program should give, and how far correct implementations may be from it.
//
// The error model: the reference runs once as it is and kNoisyRuns times with Perturbation, which puts into
// every step an error as large as its row allows. How far these runs scatter around the exact one is how far
// rounding errors can grow in this program, with these numbers. An element may be off by four times its own
// scatter, plus four times the mean scatter of its tensor (an element's few runs may all round alike), plus
// two units in the last place. Integers and bools must be equal.
struct Expected {
  std::vector<std::vector<Value>> exact;               // [rank][output]
  std::vector<std::vector<std::vector<Value>>> noisy;  // [run][rank][output]
};
inline constexpr int kNoisyRuns = 8;
Result<Expected> expect(const Graph& program, std::span<const Arguments> arguments);

// Empty if `got` is close enough to output `output` of rank `rank`; else the first element that is not.
std::string difference(const Value& got, const Expected& expected, size_t rank, size_t output);

}  // namespace peri::testing
