// Which window a view op makes of its operand's storage, and how allocators print.
#include "core/types/layout.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "core/ops/families.hpp"
#include "core/overloaded.hpp"

namespace peri {

namespace {

View permuted(const View& in, const Ints& dims) {
  View out = in;
  for (size_t i = 0; i < dims.size(); ++i) {
    out.shape[static_cast<int>(i)] = in.shape[static_cast<int>(dims[i])];
    out.strides[static_cast<int>(i)] = in.strides[static_cast<int>(dims[i])];
  }
  return out;
}

View sliced(const View& in, const Shape& result, int dim, int64_t start, int64_t step) {
  View out = in;
  out.shape = result;
  if (numel(result) == 0) return out;  // keeps the offset inside the storage
  out.offset += Elements(start * in.strides[dim]);
  if (result[dim] > 1) out.strides[dim] *= step;
  return out;
}

// Windows along one dimension overlap where the step is less than their size.
View unfolded(const View& in, const Shape& result, int dim, int64_t step) {
  View out{result, in.strides, in.offset};
  out.strides.push_back(in.strides[dim]);
  if (result[dim] > 1) out.strides[dim] *= step;
  return out;
}

// A reshape shares storage if every new dimension lies within one run of old dimensions that are laid out
// without gaps. The runs are walked from the last dimension forward; each is cut into new dimensions whose
// product is its size.
std::optional<View> reshaped(const View& in, const Shape& result) {
  View out{result, contiguous_strides(result), in.offset};
  if (numel(result) == 0) return out;
  int next = result.rank() - 1;  // the last new dimension without a stride yet
  int64_t run = 1;               // elements of the run so far
  int64_t stride = 1;            // of the run's last dimension
  for (int i = in.shape.rank() - 1; i >= 0; --i) {
    if (in.shape[i] == 1) continue;
    if (run == 1) stride = in.strides[i];
    run *= in.shape[i];
    int before = i - 1;
    while (before >= 0 && in.shape[before] == 1) --before;
    if (before >= 0 && in.strides[before] == in.shape[i] * in.strides[i]) continue;  // the run goes on
    int64_t filled = 1;
    while (next >= 0 && (filled < run || result[next] == 1)) {
      out.strides[next] = filled * stride;
      filled *= result[next--];
    }
    if (filled != run) return std::nullopt;
    run = 1;
  }
  return out;
}

}  // namespace

View broadcast_to(const View& view, const Shape& shape) {
  View result{shape, {}, view.offset};
  const int added = shape.rank() - view.shape.rank();
  for (int i = 0; i < shape.rank(); ++i) {
    const bool repeated = i < added || view.shape[i - added] != shape[i];
    result.strides.push_back(repeated ? 0 : view.strides[i - added]);
  }
  return result;
}

// From the smallest stride up, each must step over all that those below it reach. That holds for whatever is
// cut, permuted and reshaped of a tensor without repetition.
bool View::repeats() const {
  if (numel(shape) == 0) return false;
  std::vector<std::pair<int64_t, int64_t>> steps;  // stride, size
  for (int i = 0; i < shape.rank(); ++i)
    if (shape[i] > 1) steps.emplace_back(std::abs(strides[i]), shape[i]);
  std::ranges::sort(steps);
  int64_t reach = 0;
  for (const auto& [stride, size] : steps) {
    if (stride <= reach) return true;
    reach += stride * (size - 1);
  }
  return false;
}

std::optional<View> view_of(Op op, const Attributes& attributes, const View& in, const Shape& result,
                            int rank) {
  switch (op_of<ViewOp>(op)) {
    case ViewOp::reshape:
      return reshaped(in, result);
    case ViewOp::permute:
      return permuted(in, attributes.as<Op::permute>().dims);
    case ViewOp::expand:
      return broadcast_to(in, result);
    case ViewOp::slice: {
      const auto slice = attributes.as<Op::slice>();
      return sliced(in, result, slice.dim, slice.start, slice.step);
    }
    case ViewOp::unfold: {
      const auto unfold = attributes.as<Op::unfold>();
      return unfolded(in, result, unfold.dim, unfold.step);
    }
    case ViewOp::shard: {
      const auto shard = attributes.as<Op::shard>();
      const int part = shard.group.index_of(rank);
      PERI_CHECK(part >= 0, "shard on a rank outside its group");
      return sliced(in, result, shard.dim, part * result[shard.dim], 1);
    }
  }
  PERI_CHECK(false, "not a view");
}

std::string to_string(const Allocator& allocator) {
  return std::visit(Overloaded{[](const DefaultAllocator&) -> std::string { return "default"; },
                               [](const SymmetricAllocator& symmetric) {
                                 return "symmetric" + symmetric.group.to_string();
                               }},
                    allocator);
}

}  // namespace peri
