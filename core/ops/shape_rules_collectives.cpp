// Shape rules of ops that depend on a group: collectives, messages and shard.
#include <limits>

#include <fmt/format.h>

#include "core/ops/collective.hpp"
#include "core/ops/shape_rules.hpp"

namespace peri::shape_rules {

namespace {

int64_t group_size(const RuleCall& call) {
  return call.attributes.get<"group">().size();
}

Status check_algorithm(const RuleCall& call) {
  const std::string& name = call.attributes.get<"algorithm">();
  if (!name.empty()) PERI_TRY(parse_algorithm(call.op, name));
  return {};
}

Status check_reduce(const RuleCall& call) {
  if (call.attributes.get<"reduce">() == Reduce::avg && !is_float(call.type(0).dtype))
    return fail(Code::DTypeMismatch,
                fmt::format("avg of {}: an average of integers is not one", to_string(call.type(0).dtype)),
                {}, "cast it: a:to(\"f32\"), or take the sum");
  return {};
}

Status check_member(const RuleCall& call, const char* attribute, int64_t rank) {
  const Group& group = call.attributes.get<"group">();
  if (rank >= 0 && rank <= std::numeric_limits<int>::max() && group.index_of(static_cast<int>(rank)) >= 0)
    return {};
  return fail(Code::InvalidArgument, not_in_group(group, rank, attribute), {},
              "ranks are global and count from 0");
}

Status divide(const RuleCall& call, Shape& shape, int dim) {
  const int64_t members = group_size(call);
  if (shape[dim] % members != 0)
    return fail(
        Code::ShapeMismatch,
        fmt::format("{} (dim {} of a) does not divide into {} equal parts, one per member of the group",
                    shape[dim], dim + 1, members));
  shape[dim] /= members;
  return {};
}

Status multiply(const RuleCall& call, Shape& shape, int dim) {
  const int64_t members = group_size(call);
  if (shape[dim] > std::numeric_limits<int64_t>::max() / members)
    return fail(Code::InvalidArgument, "the result has more elements than memory can hold");
  shape[dim] *= members;
  return {};
}

}  // namespace

Result<ResultTypes> shard(const RuleCall& call) {
  TensorType result = call.type(0);
  PERI_TRY(divide(call, result.shape, call.attributes.as<Op::shard>().dim));
  return result;
}

Result<ResultTypes> all_reduce(const RuleCall& call) {
  PERI_TRY(check_algorithm(call));
  PERI_TRY(check_reduce(call));
  return call.type(0);
}

Result<ResultTypes> all_gather(const RuleCall& call) {
  PERI_TRY(check_algorithm(call));
  TensorType result = call.type(0);
  PERI_TRY(multiply(call, result.shape, call.attributes.as<Op::all_gather>().dim));
  return result;
}

Result<ResultTypes> reduce_scatter(const RuleCall& call) {
  PERI_TRY(check_algorithm(call));
  PERI_TRY(check_reduce(call));
  TensorType result = call.type(0);
  PERI_TRY(divide(call, result.shape, call.attributes.as<Op::reduce_scatter>().dim));
  return result;
}

Result<ResultTypes> all_to_all(const RuleCall& call) {
  PERI_TRY(check_algorithm(call));
  const auto given = call.attributes.as<Op::all_to_all>();
  TensorType result = call.type(0);
  PERI_TRY(divide(call, result.shape, given.split_dim));
  PERI_TRY(multiply(call, result.shape, given.concat_dim));
  return result;
}

Result<ResultTypes> broadcast(const RuleCall& call) {
  PERI_TRY(check_algorithm(call));
  PERI_TRY(check_member(call, "root", call.attributes.as<Op::broadcast>().root));
  return call.type(0);
}

Result<ResultTypes> reduce(const RuleCall& call) {
  PERI_TRY(check_algorithm(call));
  PERI_TRY(check_reduce(call));
  PERI_TRY(check_member(call, "root", call.attributes.as<Op::reduce>().root));
  return call.type(0);
}

Result<ResultTypes> message(const RuleCall& call) {
  PERI_TRY(check_member(call, "peer", call.attributes.as<Op::send, Op::recv>().peer));
  return call.type(0);
}

}  // namespace peri::shape_rules
