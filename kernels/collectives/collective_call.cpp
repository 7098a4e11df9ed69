#include "kernels/collectives/collective_call.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/hash.hpp"

namespace peri::kernels {
namespace {

// "all_gather f32[4,8] along dim 2 over {0,1} by one_shot": as users count dimensions.
std::string describe(const CollectiveSpec& spec, const TensorType& operand) {
  const CollectiveInfo& row = spec.info();
  const bool splits = row.input == Parts::per_member, concats = row.output == Parts::per_member;
  std::string text = fmt::format("{} {}", to_string(spec.op), operand.to_string());
  if (row.reduces) text += fmt::format(" {}", to_string(spec.reduce));
  if (splits && concats)
    text += fmt::format(" from dim {} to dim {}", spec.split_dim + 1, spec.concat_dim + 1);
  else if (splits || concats)
    text += fmt::format(" along dim {}", (splits ? spec.split_dim : spec.concat_dim) + 1);
  if (row.has_root())
    text += fmt::format(" {} rank {}", row.sources == Sources::root ? "from" : "to", spec.root);
  if (row.sources == Sources::peer)
    text += fmt::format(" {} rank {}", row.outputs == 0 ? "to" : "from", spec.peer);
  text += fmt::format(" over {}", spec.group.to_string());
  if (spec.algorithm->algorithm != Algorithm::ll) text += fmt::format(" by {}", spec.algorithm->name);
  return text;
}

uint64_t hash_of(std::string_view text) {
  return Hash().mix(text).value();
}

TensorType type_of(const Operand& operand) {
  return {operand.type.dtype, operand.type.view.shape};
}

// The algorithm's symmetric operand must lie in memory that is symmetric over the group's members, at the
// same place on all of them (the signature says so).
Status find_symmetric(CheckedCollective& c, const std::function<SymmetricMemory*(const std::byte*)>& find) {
  if (c.algorithm().symmetric == kNoOperand || c.members() == 1) return {};
  const bool is_input = c.algorithm().symmetric == kInput;
  const std::byte* address = is_input ? c.input : c.output;
  const Bytes bytes = is_input ? c.input_bytes() : c.output_bytes();
  if (bytes == Bytes()) return {};
  SymmetricMemory* memory = find(address);
  std::string_view name = is_input ? "input" : "output";
  if (!memory || !c.algorithm().works_in_memory_of(memory->group(), c.group()))
    return c.operation.fail(
        Code::InvalidArgument,
        fmt::format("its {} must lie in symmetric memory of {}, and lies in {}", name, c.group().to_string(),
                    memory ? "that of " + memory->group().to_string() : std::string("ordinary memory")));
  c.memory = memory;
  const Bytes offset(address - memory->buffer(memory->index()));
  if (offset + bytes > memory->bytes())
    return c.operation.fail(Code::InvalidArgument,
                            fmt::format("its {} reaches beyond its symmetric memory", name));
  for (int rank : c.group().ranks)
    c.operands.push_back(memory->buffer(memory->group().index_of(rank)) + offset);
  c.signature +=
      memory->id() * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(offset.count()) * 0xC2B2AE3D27D4EB4Fu;
  if (memory->group() != c.group()) c.signature += hash_of(memory->group().to_string());
  return {};
}

// Peers may read an input until the call ends on all of them. Only algorithms that overwrite what they have
// finished with can work in place, and then on the same bytes; what no member changes may stay where it is.
Status check_overlap(const CheckedCollective& c) {
  const bool apart = !c.input || !c.output || c.output + c.output_bytes() <= c.input ||
                     c.input + c.input_bytes() <= c.output;
  const bool may_stay = c.info().is_elementwise() && (!c.info().reduces || c.algorithm().clobbers_input ||
                                                      c.algorithm().symmetric == kNoOperand);
  if (apart || (may_stay && c.in_place())) return {};
  return c.operation.fail(Code::InvalidArgument, "its input and output overlap, and it cannot work in place");
}

// Where part `member` of `count` of a whole tensor lies.
Window part_window(DType dtype, Shape whole, int dim, int member, int count) {
  whole[dim] /= count;
  return Window::of_part(dtype, whole, dim, member, count);
}

// What the op's rule and the algorithm's row ask of the operands alone.
Status check_operands(const CollectiveSpec& spec, std::span<const Operand> inputs,
                      std::span<const Operand> outputs, const job::Operation& operation) {
  auto refuse = [&](Error error) {
    return operation.fail(error.code, error.message, std::move(error.context));
  };
  const Result<TensorType> result = infer(spec, type_of(inputs.empty() ? outputs[0] : inputs[0]));
  if (!result) return refuse(result.error());
  for (const Operand& output : outputs)
    if (type_of(output) != *result)
      return operation.fail(Code::ShapeMismatch,
                            fmt::format("its output is {}, and {} was given", result->to_string(),
                                        type_of(output).to_string()));
  for (std::span<const Operand> operands : {inputs, outputs})
    for (const Operand& operand : operands)
      if (!operand.type.view.is_contiguous())
        return operation.fail(Code::InvalidArgument, "its operands must be contiguous");
  if (spec.info().reduces && result->dtype == DType::boolean)
    return operation.fail(Code::DTypeMismatch, fmt::format("not defined for {}", to_string(result->dtype)));
  return {};
}

}  // namespace

Window Window::of_part(DType dtype, const Shape& part, int dim, int index, int count) {
  int64_t row_bytes = size_of(dtype);
  for (int i = dim; i < part.rank(); ++i) row_bytes *= part[i];
  row_bytes = std::max<int64_t>(row_bytes, 1);  // of an empty part nothing is copied
  return {.row_bytes = row_bytes, .row_stride = count * row_bytes, .begin = index * row_bytes};
}

Window CheckedCollective::input_part(int member) const {
  if (info().input == Parts::whole) return Window::packed_from(0);
  return part_window(dtype, input_shape, spec.split_dim, member, members());
}

Window CheckedCollective::output_part(int member) const {
  if (info().output == Parts::whole) return Window::packed_from(0);
  return part_window(dtype, output_shape, spec.concat_dim, member, members());
}

Status check_group(const Group& group, int rank, int world) {
  std::vector<int> sorted = group.ranks;
  std::sort(sorted.begin(), sorted.end());
  const bool valid = !sorted.empty() && sorted.front() >= 0 && sorted.back() < world &&
                     std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  if (!valid)
    return fail(Code::InvalidArgument,
                fmt::format("{} is not a group of distinct ranks below {}", group.to_string(), world));
  if (group.index_of(rank) < 0)
    return fail(Code::InvalidArgument, not_in_group(group, rank), {}, "only members of a group take part");
  return {};
}

Status check_signal(Signalling what, const Group& group, int me, int member, int channel, int channels,
                    const job::Operation& operation) {
  if (member < 0 || member >= group.size())
    return operation.fail(Code::InvalidArgument,
                          fmt::format("no member {} in group {}", member, group.to_string()));
  if (channel < 0 || channel >= channels)
    return operation.fail(Code::InvalidArgument,
                          fmt::format("no channel {}: there are {}", channel, channels));
  if (member == me)
    return operation.fail(Code::InvalidArgument,
                          what == Signalling::put ? "a signal to oneself" : "a signal from oneself");
  return {};
}

Result<CheckedCollective> check_collective(const CollectiveSpec& spec, std::span<const Operand> inputs,
                                           std::span<const Operand> outputs, const JobOptions& job,
                                           const std::function<SymmetricMemory*(const std::byte*)>& find) {
  const CollectiveInfo& row = spec.info();
  PERI_CHECK(spec.algorithm && spec.algorithm->op == spec.op, "the algorithm is one of the op's");
  PERI_CHECK(spec.epilogue.empty(), "epilogues are calls of their own here (epilogue.hpp)");
  if (static_cast<int>(inputs.size()) != row.inputs || static_cast<int>(outputs.size()) != row.outputs)
    return fail(Code::InvalidArgument,
                fmt::format("{}: takes {} inputs and {} outputs, not {} and {}", to_string(spec.op),
                            row.inputs, row.outputs, inputs.size(), outputs.size()),
                spec.origin);
  const Operand &read = inputs.empty() ? outputs[0] : inputs[0],
                &written = outputs.empty() ? inputs[0] : outputs[0];
  job::Operation operation(describe(spec, type_of(read)), spec.origin);
  PERI_TRY(check_operands(spec, inputs, outputs, operation));
  if (Status valid = check_group(spec.group, job.rank, job.world_size); !valid)
    return operation.fail(valid.error().code, valid.error().message, valid.error().context);
  if (row.sources == Sources::peer && spec.peer == job.rank)
    return operation.fail(Code::InvalidArgument, "a message to oneself");

  CheckedCollective c{.operation = std::move(operation),
                      .signature = 0,
                      .spec = spec,
                      .index = spec.group.index_of(job.rank),
                      .root = row.has_root() ? spec.group.index_of(spec.root) : -1,
                      .dtype = read.type.dtype,
                      .input = inputs.empty() ? nullptr : read.data,
                      .output = outputs.empty() ? nullptr : written.data,
                      .input_shape = read.type.view.shape,
                      .output_shape = written.type.view.shape};
  c.signature = hash_of(c.operation.text()) + spec.call;
  PERI_TRY(find_symmetric(c, find));
  if (c.members() > 1) PERI_TRY(check_overlap(c));
  return c;
}

}  // namespace peri::kernels
