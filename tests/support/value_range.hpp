// The range of the values that an op can give: how the generator keeps programs tame.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

#include "core/graph/graph.hpp"

namespace peri::testing {

// The most elements that a value of a random program has.
inline constexpr int64_t kMaxTensor = 2048;

struct Range {
  double low, high;
  double size() const { return std::max(std::fabs(low), std::fabs(high)); }
};

// A value of the program under construction.
struct Item {
  NodeId id;
  TensorType type;
  Range range;
  bool exact;  // every correct implementation has the same bits
};

// What input and constant tensors hold.
Range argument_range(DType t);

// The range of `op`'s result, or nothing if the op should not be applied to these operands: the result could
// be huge, infinite or NaN, or would jump where an operand is inexact.
std::optional<Range> range_of(Op op, std::span<const Item> operands, const Attributes& attributes,
                              const TensorType& result);

}  // namespace peri::testing
