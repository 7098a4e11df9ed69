// Shape rules of ops that rearrange elements: views, copies, joins.
#include <limits>

#include <fmt/format.h>

#include "core/ops/shape_rules.hpp"

namespace peri::shape_rules {

Result<ResultTypes> reshape(const RuleCall& call) {
  Ints dims = call.attributes.as<Op::reshape>().shape;
  const std::string wanted = to_string(dims);
  const int64_t count = numel(call.shape(0));
  int64_t* inferred = nullptr;
  for (int64_t& dim : dims)
    if (dim == -1) {
      if (inferred) return fail(Code::InvalidArgument, fmt::format("shape {} has more than one -1", wanted));
      inferred = &dim;
      dim = 1;  // so that the others' product can be taken
    }
  Shape shape = PERI_TRY(make_shape(dims));
  int64_t product = numel(shape);
  if (inferred && product > 0 && count % product == 0) {
    *inferred = count / product;
    shape = PERI_TRY(make_shape(dims));
    product = numel(shape);
  } else if (inferred) {
    return fail(Code::ShapeMismatch,
                fmt::format("no size for the -1 in {} gives the {} elements of a", wanted, count));
  }
  if (product != count)
    return fail(Code::ShapeMismatch,
                fmt::format("shape {} has {} elements, and a has {}", wanted, product, count));
  TensorType result = call.type(0);
  result.shape = shape;
  return result;
}

Result<ResultTypes> permute(const RuleCall& call) {
  const Ints dims = call.attributes.as<Op::permute>().dims;
  const Shape& shape = call.shape(0);
  if (dims.size() != static_cast<size_t>(shape.rank()))
    return fail(Code::InvalidArgument, fmt::format("{} dims given, and a has {}", dims.size(), shape.rank()));
  TensorType result = call.type(0);
  uint32_t seen = 0;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (seen >> dims[i] & 1u)
      return fail(Code::InvalidArgument, fmt::format("dim {} is given twice", dims[i] + 1));
    seen |= 1u << dims[i];
    result.shape[static_cast<int>(i)] = shape[static_cast<int>(dims[i])];
  }
  return result;
}

Result<ResultTypes> slice(const RuleCall& call) {
  const auto [dim, start, stop, step] = call.attributes.as<Op::slice>();
  const int64_t size = call.shape(0)[dim];
  if (step < 1) return fail(Code::InvalidArgument, fmt::format("step is {}; it must be at least 1", step));
  // Where a user counts from 1 and includes the last, an empty slice is one that stops just before its start.
  if (start < 0 || start > stop || stop > size)
    return fail(Code::ShapeMismatch,
                fmt::format("positions {} to {} are not within the {} of dim {}",
                            start < 0 ? start : start + 1, stop, size, dim + 1),
                {}, "positions count from 1, or from -1 at the last, and the last one is included");
  TensorType result = call.type(0);
  result.shape[dim] = start == stop ? 0 : (stop - start - 1) / step + 1;
  return result;
}

Result<ResultTypes> unfold(const RuleCall& call) {
  const auto [dim, size, step] = call.attributes.as<Op::unfold>();
  Ints dims(call.shape(0).begin(), call.shape(0).end());
  int64_t& length = dims[static_cast<size_t>(dim)];
  if (step < 1) return fail(Code::InvalidArgument, fmt::format("step is {}; it must be at least 1", step));
  if (size < 0 || size > length)
    return fail(Code::ShapeMismatch,
                fmt::format("windows of {} do not fit into the {} of dim {}", size, length, dim + 1));
  length = (length - size) / step + 1;
  dims.push_back(size);
  TensorType result = call.type(0);
  result.shape = PERI_TRY(make_shape(dims));
  return result;
}

Result<ResultTypes> expand(const RuleCall& call) {
  Ints dims = call.attributes.as<Op::expand>().shape;
  const Shape& shape = call.shape(0);
  const int added = static_cast<int>(std::min<size_t>(dims.size(), kMaxRank + 1)) - shape.rank();
  if (added < 0)
    return fail(Code::ShapeMismatch,
                fmt::format("shape {} has fewer dimensions than a's {}", to_string(dims), shape.to_string()));
  if (dims.size() <= kMaxRank)
    for (int i = 0; i < shape.rank(); ++i) {
      int64_t& dim = dims[static_cast<size_t>(added) + static_cast<size_t>(i)];
      if (dim == -1) dim = shape[i];  // as it is
      if (dim != shape[i] && shape[i] != 1)
        return fail(
            Code::ShapeMismatch,
            fmt::format("dim {} of a is {} and cannot be repeated to {}; only 1 can", i + 1, shape[i], dim));
    }
  TensorType result = call.type(0);
  result.shape = PERI_TRY(make_shape(dims));
  return result;
}

Result<ResultTypes> window_copy(const RuleCall& call) {
  if (call.shape(1) != call.shape(2))
    return fail(Code::ShapeMismatch, fmt::format("the view is {}, and its new value {}",
                                                 call.shape(1).to_string(), call.shape(2).to_string()));
  return call.type(0);
}

Result<ResultTypes> transpose(const RuleCall& call) {
  const auto [dim0, dim1] = call.attributes.as<Op::transpose>();
  TensorType result = call.type(0);
  std::swap(result.shape[dim0], result.shape[dim1]);
  return result;
}

Result<ResultTypes> copy_to(const RuleCall& call) {
  TensorType result = call.type(0);
  result.place = call.attributes.as<Op::copy_to>().place;
  return result;
}

Result<ResultTypes> cat(const RuleCall& call) {
  const int dim = call.attributes.as<Op::cat>().dim;
  TensorType result = call.type(0);
  for (size_t i = 1; i < call.operands.size(); ++i) {
    PERI_TRY(check_rank(call, i, result.shape.rank()));
    for (int d = 0; d < result.shape.rank(); ++d)
      if (d != dim) PERI_TRY(check_same_size(call, i, d, 0, d));
    if (result.shape[dim] > std::numeric_limits<int64_t>::max() - call.shape(i)[dim])
      return fail(Code::InvalidArgument, "the result has more elements than memory can hold");
    result.shape[dim] += call.shape(i)[dim];
  }
  return result;
}

Result<ResultTypes> stack(const RuleCall& call) {
  for (size_t i = 1; i < call.operands.size(); ++i)
    if (call.shape(i) != call.shape(0))
      return fail(Code::ShapeMismatch,
                  fmt::format("shapes differ: {} (a) and {} ({})", call.shape(0).to_string(),
                              call.shape(i).to_string(), operand_name(i)));
  if (call.shape(0).rank() == kMaxRank)
    return fail(Code::Unsupported, fmt::format("the result has {} dimensions; at most {} are supported",
                                               kMaxRank + 1, kMaxRank));
  TensorType result = call.type(0);
  result.shape.insert(call.attributes.as<Op::stack>().dim, static_cast<int64_t>(call.operands.size()));
  return result;
}

}  // namespace peri::shape_rules
