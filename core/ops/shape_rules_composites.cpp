// Shape rules of composite ops that cover, repeat and surround tensors, and of convolutions.
#include <fmt/format.h>

#include "core/ops/shape_rules.hpp"

namespace peri::shape_rules {
namespace {

Result<int64_t> too_many_elements() {
  return fail(Code::InvalidArgument, "the result has more elements than memory can hold");
}
Result<int64_t> plus(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? too_many_elements() : sum;
}
Result<int64_t> times(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? too_many_elements() : product;
}

}  // namespace

Result<ResultTypes> one_hot(const RuleCall& call) {
  const auto [classes, dtype] = call.attributes.as<Op::one_hot>();
  if (classes < 0)
    return fail(Code::InvalidArgument, fmt::format("classes is {}; it cannot be negative", classes));
  Ints dims(call.shape(0).begin(), call.shape(0).end());
  dims.push_back(classes);
  return TensorType{dtype, PERI_TRY(make_shape(dims))};
}

Result<ResultTypes> masked_fill(const RuleCall& call) {
  if (call.type(1).dtype != DType::boolean)
    return fail(Code::DTypeMismatch,
                fmt::format("the mask b must be bool, not {}", to_string(call.type(1).dtype)), {},
                "compare it: b:ne(0)");
  const Result<Shape> shape = broadcast(call.shape(0), call.shape(1));
  if (!shape || *shape != call.shape(0))
    return fail(Code::ShapeMismatch, fmt::format("the mask b, of shape {}, does not broadcast to a's {}",
                                                 call.shape(1).to_string(), call.shape(0).to_string()));
  PERI_TRY(check_number(call.type(0).dtype, call.attributes.as<Op::masked_fill>().value));
  return call.type(0);
}

Result<ResultTypes> tile(const RuleCall& call) {
  const Ints repeats = call.attributes.as<Op::tile>().repeats;
  Ints dims(call.shape(0).begin(), call.shape(0).end());
  if (repeats.size() > dims.size()) dims.insert(dims.begin(), repeats.size() - dims.size(), 1);
  const size_t first = dims.size() - repeats.size();
  for (size_t i = 0; i < repeats.size(); ++i) {
    if (repeats[i] < 0)
      return fail(Code::InvalidArgument, fmt::format("repeats has {}; it cannot be negative", repeats[i]));
    dims[first + i] = PERI_TRY(times(dims[first + i], repeats[i]));
  }
  TensorType result = call.type(0);
  result.shape = PERI_TRY(make_shape(dims));
  return result;
}

Result<ResultTypes> pad(const RuleCall& call) {
  const auto [padding, value] = call.attributes.as<Op::pad>();
  Ints dims(call.shape(0).begin(), call.shape(0).end());
  if (padding.size() % 2 != 0 || padding.size() > 2 * dims.size())
    return fail(Code::InvalidArgument,
                fmt::format("padding has {} numbers; a has {} dimension{}, and each takes two",
                            padding.size(), dims.size(), dims.size() == 1 ? "" : "s"));
  for (size_t i = 0; i < padding.size(); ++i) {
    if (padding[i] < 0)
      return fail(Code::InvalidArgument, fmt::format("padding has {}; it cannot be negative", padding[i]), {},
                  "slice takes elements away");
    int64_t& dim = dims[dims.size() - 1 - i / 2];
    dim = PERI_TRY(plus(dim, padding[i]));
  }
  PERI_TRY(check_number(call.type(0).dtype, value));
  TensorType result = call.type(0);
  result.shape = PERI_TRY(make_shape(dims));
  return result;
}

Result<Ints> per_dimension(const char* name, const Ints& given, int count, int64_t fallback, int64_t least) {
  const auto wanted = static_cast<size_t>(count);
  Ints all = given.empty() ? Ints(wanted, fallback) : given.size() == 1 ? Ints(wanted, given[0]) : given;
  if (all.size() != wanted)
    return fail(Code::InvalidArgument,
                fmt::format("{} has {} numbers; there {} {} spatial dimension{}", name, all.size(),
                            count == 1 ? "is" : "are", count, count == 1 ? "" : "s"));
  for (int64_t number : all)
    if (number < least)
      return fail(Code::InvalidArgument,
                  fmt::format("{} is {}; it must be at least {}", name, number, least));
  return all;
}

// The channels of operands a (input), b (weight), c (bias).
static Status check_channels(const RuleCall& call, int64_t groups) {
  const int64_t in = call.shape(0)[1], out = call.shape(1)[0], of_group = call.shape(1)[1];
  if (groups < 1)
    return fail(Code::InvalidArgument, fmt::format("groups is {}; it must be at least 1", groups));
  if (in % groups != 0 || out % groups != 0)
    return fail(Code::ShapeMismatch,
                fmt::format("{} groups do not divide the {} channels of a (dim 2) and the {} of b (dim 1)",
                            groups, in, out));
  if (of_group != in / groups)
    return fail(Code::ShapeMismatch,
                fmt::format("dim 2 of b is {}, expected {}: the {} channels of a (dim 2) over {} group{}",
                            of_group, in / groups, in, groups, groups == 1 ? "" : "s"));
  if (call.operands.size() == 3) {
    PERI_TRY(check_rank(call, 2, 1));
    PERI_TRY(check_same_size(call, 2, 0, 1, 0));
  }
  return {};
}

Result<ResultTypes> convolution(const RuleCall& call) {
  const auto given = call.attributes.as<Op::conv1d, Op::conv2d>();
  const int spatial = call.op == Op::conv1d ? 1 : 2;
  for (size_t i = 0; i < 2; ++i) PERI_TRY(check_rank(call, i, spatial + 2));
  PERI_TRY(check_channels(call, given.groups));
  const Ints stride = PERI_TRY(per_dimension("stride", given.stride, spatial, 1, 1)),
             padding = PERI_TRY(per_dimension("padding", given.padding, spatial, 0, 0)),
             dilation = PERI_TRY(per_dimension("dilation", given.dilation, spatial, 1, 1));
  Ints dims = {call.shape(0)[0], call.shape(1)[0]};
  for (int d = 0; d < spatial; ++d) {
    const auto i = static_cast<size_t>(d);
    const int64_t taps = call.shape(1)[d + 2];
    if (taps == 0)
      return fail(Code::ShapeMismatch, fmt::format("dim {} of b, the kernel's, is empty", d + 3));
    const int64_t around = PERI_TRY(times(2, padding[i])), reach = PERI_TRY(times(dilation[i], taps - 1));
    const int64_t length = PERI_TRY(plus(call.shape(0)[d + 2], around)), window = PERI_TRY(plus(reach, 1));
    if (window > length)
      return fail(Code::ShapeMismatch, fmt::format("the kernel covers {} positions, and dim {} of a has {}{}",
                                                   window, d + 3, length, padding[i] ? " with padding" : ""));
    dims.push_back((length - window) / stride[i] + 1);
  }
  return TensorType{call.type(0).dtype, PERI_TRY(make_shape(dims))};
}

}  // namespace peri::shape_rules
