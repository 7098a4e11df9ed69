// Where a value's elements lie: which memory holds a graph input, strided windows, and which views can share
// their operand's storage.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "core/ops/attributes.hpp"
#include "core/ops/op.hpp"
#include "core/types/group.hpp"
#include "core/types/shape.hpp"

namespace peri {

// Which allocator holds a graph input: ordinary memory, or symmetric memory of a group.
struct DefaultAllocator {
  bool operator==(const DefaultAllocator&) const = default;
};
struct SymmetricAllocator {
  Group group;
  bool operator==(const SymmetricAllocator&) const = default;
};
using Allocator = std::variant<DefaultAllocator, SymmetricAllocator>;

std::string to_string(const Allocator& allocator);

// A strided window on a buffer; strides in elements of the operand's dtype.
struct View {
  Shape shape;
  Strides strides;
  Elements offset;
  static View contiguous(const Shape& shape) { return {shape, contiguous_strides(shape), {}}; }
  bool is_contiguous() const { return peri::is_contiguous(shape, strides); }
  // Whether some of its elements may be one (those of an expanded tensor, of overlapping windows), so that it
  // cannot be written.
  bool repeats() const;
  bool operator==(const View&) const = default;
};

// The window of `shape` that repeats `view`: new dimensions in front, and those of size 1 that have another
// size in `shape`, have stride 0. The shapes broadcast.
View broadcast_to(const View& view, const Shape& shape);

// The window that view op `op` (trait view) makes of `in`, or nothing if it cannot share storage (a reshape
// of a strided window), in which case the caller copies first. `result` is the op's inferred shape; `rank`
// matters to shard only.
std::optional<View> view_of(Op op, const Attributes& attributes, const View& in, const Shape& result,
                            int rank);

}  // namespace peri
