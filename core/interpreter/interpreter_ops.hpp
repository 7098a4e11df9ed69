// What the parts of the reference interpreter share: computing one op, and walking the elements of a shape.
#pragma once

#include <array>
#include <limits>

#include "core/interpreter/interpreter.hpp"
#include "core/ops/attributes_of.hpp"

namespace peri::reference {

// The operands of one op, its completed attributes and the inferred type of its first result, on rank
// `rank`.
struct OpCall {
  Op op;
  std::span<const Value* const> operands;
  const Attributes& attributes;
  const TensorType& type;
  int rank;

  const Value& operand(size_t i) const { return *operands[i]; }
  const Shape& shape(size_t i) const { return operands[i]->type.shape; }
};

// Every result of an op that has several; of every other, but sources, windows and collectives, the one.
std::vector<Value> compute_results(const OpCall& call);
// The first result.
Value compute(const OpCall& call);

// interpreter_composites.cpp: composite ops by their own meaning, not by their decomposition.
Value composite(const OpCall& call);

// interpreter_move.cpp: what moves elements only.
Value viewed(const OpCall& call);
Value copied(const OpCall& call);
Value retyped(const OpCall& call);  // the same elements in the same order
Value gathered(const OpCall& call);
Value scattered(const OpCall& call);
Value transposed(const OpCall& call);
Value stacked(const OpCall& call);

// interpreter_pointwise.cpp
Value pointwise(const OpCall& call);
Value cast(const OpCall& call);
Value create(const OpCall& call);

// interpreter_sums.cpp: whatever accumulates.
// For each element of a reduction's result, the operand's elements that are reduced to it, ascending.
std::vector<std::vector<int64_t>> elements_per_result(const OpCall& call);
Value scanned(const OpCall& call);
Value reduction(const OpCall& call);
Value arg_reduction(const OpCall& call);
std::vector<Value> sorted(const OpCall& call);  // values, positions
Value normalised(const OpCall& call);
Value matmul(const OpCall& call);
Value linear(const OpCall& call);
Value rope(const OpCall& call);
Value attention(const OpCall& call);

// What every member of a group gets from a collective, by position in the group; `operands` by position too.
std::vector<Value> collective(const Node& node, std::span<const Value* const> operands);
// Operands joined along `dim` / positions start, start + step, ... of `dim`, as many as `type` has.
Value join(std::span<const Value* const> operands, int dim, const TensorType& type);
Value part(const Value& whole, int dim, int64_t start, int64_t step, const TensorType& type);

// A position in a tensor of some shape; entries beyond its rank are 0.
using Index = std::array<int64_t, kMaxRank>;

Index index_of(int64_t element, const Shape& shape);
int64_t element_of(const Index& index, const Shape& shape);
// The element of an operand of `shape` that broadcasting puts at `index` of a result of rank `rank`.
int64_t broadcast_element(const Index& index, int rank, const Shape& shape);

// An int64 as an integer dtype or bool keeps it.
int64_t wrap(DType t, int64_t value);

// A value of `type` whose element at each index is element `source(index)` of `from`; -1: 0, or NaN in a
// float.
template <class Source>
Value gather(const Value& from, const TensorType& type, Source source) {
  Value result = zeros(type);
  auto take = [&](const auto& in, auto missing) {
    auto& out = std::get<std::decay_t<decltype(in)>>(result.elements);
    for (int64_t i = 0; i < static_cast<int64_t>(out.size()); ++i) {
      int64_t at = source(index_of(i, type.shape));
      out[i] = at < 0 ? missing : in[at];
    }
  };
  if (is_float(type.dtype))
    take(from.floats(), std::numeric_limits<double>::quiet_NaN());
  else
    take(from.integers(), int64_t{0});
  return result;
}

}  // namespace peri::reference
