#include "kernels/collective_call.hpp"

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"

namespace peri::kernels {
namespace {

// "all_gather f32[4,8] along dim 2 over {0,1} by one_shot": as users count dimensions.
std::string describe(const CollectiveSpec& spec, const TensorType& input) {
  std::string text = fmt::format("{} {}", to_string(spec.op), input.to_string());
  const Attributes& a = spec.attributes;
  if (const auto reduce = a.find<"reduce">()) text += fmt::format(" {}", to_string(*reduce));
  if (const auto dim = a.find<"dim">()) text += fmt::format(" along dim {}", *dim + 1);
  if (const auto split = a.find<"split_dim">())
    text += fmt::format(" from dim {} to dim {}", *split + 1, a.get<"concat_dim">() + 1);
  if (const auto root = a.find<"root">()) text += fmt::format(" from rank {}", *root);
  if (const auto peer = a.find<"peer">())
    text += fmt::format(" {} rank {}", spec.op == Op::send ? "to" : "from", *peer);
  text += fmt::format(" over {}", spec.group().to_string());
  if (!spec.algorithm.empty() && spec.algorithm != "ll") text += fmt::format(" by {}", spec.algorithm);
  return text;
}

uint64_t hash_of(std::string_view text) {
  return job::topic_of({}, text);
}

// The algorithm's symmetric operand must lie in the group's memory, at the same place on all members (the
// signature says so).
Status find_symmetric(CollectiveCall& c, const std::function<SymmetricMemory*(const std::byte*)>& find) {
  if (c.algorithm.symmetric == kNoOperand || c.members() == 1) return {};
  bool is_input = c.algorithm.symmetric == kInput;
  const std::byte* address = is_input ? c.input : c.output;
  int64_t bytes = is_input ? c.input_bytes() : c.output_bytes();
  if (bytes == 0) return {};
  SymmetricMemory* memory = find(address);
  std::string_view name = is_input ? "input" : "output";
  if (!memory || memory->group() != c.group)
    return c.operation.fail(
        Code::InvalidArgument,
        fmt::format("its {} must lie in symmetric memory of {}, and lies in {}", name, c.group.to_string(),
                    memory ? "that of " + memory->group().to_string() : std::string("ordinary memory")));
  c.memory = memory;
  c.memory_offset = address - memory->buffer(memory->index());
  if (c.memory_offset + bytes > memory->bytes())
    return c.operation.fail(Code::InvalidArgument,
                            fmt::format("its {} reaches beyond its symmetric memory", name));
  c.signature +=
      memory->id() * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(c.memory_offset) * 0xC2B2AE3D27D4EB4Fu;
  return {};
}

// Peers may read an input until the call ends on all of them. Only algorithms that overwrite what they have
// finished with can work in place, and then on the same bytes.
Status check_overlap(const CollectiveCall& c) {
  const bool apart = c.output + c.output_bytes() <= c.input || c.input + c.input_bytes() <= c.output;
  const bool elementwise =
      c.op == Op::broadcast || c.op == Op::send || c.op == Op::recv || c.op == Op::barrier ||
      (c.op == Op::all_reduce && (c.algorithm.clobbers_input || c.algorithm.symmetric == kNoOperand));
  if (apart || (elementwise && c.output == c.input)) return {};
  return c.operation.fail(Code::InvalidArgument, "its input and output overlap, and it cannot work in place");
}

}  // namespace

Window Window::of_part(DType dtype, const Shape& part, int dim, int index, int count) {
  int64_t row_bytes = size_of(dtype);
  for (int i = dim; i < part.rank(); ++i) row_bytes *= part[i];
  row_bytes = std::max<int64_t>(row_bytes, 1);  // of an empty part nothing is copied
  return {.row_bytes = row_bytes, .row_stride = count * row_bytes, .begin = index * row_bytes};
}

Window CollectiveCall::input_part(int member) const {
  if (op != Op::all_to_all && op != Op::reduce_scatter) return Window::packed_from(0);
  Shape part = input_shape;
  part[dim] /= members();
  return Window::of_part(dtype, part, dim, member, members());
}

Window CollectiveCall::output_part(int member) const {
  if (op != Op::all_to_all && op != Op::all_gather) return Window::packed_from(0);
  Shape part = output_shape;
  part[concat_dim] /= members();
  return Window::of_part(dtype, part, concat_dim, member, members());
}

Status check_group(const Group& group, int rank, int world) {
  std::vector<int> sorted = group.ranks;
  std::sort(sorted.begin(), sorted.end());
  const bool valid = !sorted.empty() && sorted.front() >= 0 && sorted.back() < world &&
                     std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end() &&
                     group.index_of(rank) >= 0;
  if (valid) return {};
  return fail(Code::InvalidArgument,
              fmt::format("group {} is not one that rank {} of {} can communicate in", group.to_string(),
                          rank, world),
              {}, "a group has distinct ranks of the job, and only its members take part");
}

Result<CollectiveCall> check_collective(const CollectiveSpec& spec, const Operand& input,
                                        const Operand& output, const JobOptions& job,
                                        const std::function<SymmetricMemory*(const std::byte*)>& find) {
  TensorType input_type{input.type.dtype, input.type.view.shape};
  job::Operation operation(describe(spec, input_type), spec.origin);
  auto refuse = [&](Error error) {
    return operation.fail(error.code, error.message, std::move(error.context));
  };
  const AlgorithmInfo* algorithm = find_algorithm(spec.op, spec.algorithm);
  if (!algorithm)
    return operation.fail(Code::NotFound, fmt::format("no algorithm named \"{}\"", spec.algorithm));
  Result<TensorType> result = infer(spec.op, {&input_type, 1}, spec.attributes);
  if (!result) return refuse(std::move(result).error());
  if (output.type.dtype != result->dtype || output.type.view.shape != result->shape)
    return operation.fail(Code::ShapeMismatch,
                          fmt::format("its output is {}, and {} was given", result->to_string(),
                                      TensorType{output.type.dtype, output.type.view.shape}.to_string()));
  if (!input.type.view.is_contiguous() || !output.type.view.is_contiguous())
    return operation.fail(Code::InvalidArgument, "its operands must be contiguous");
  if (Status valid = check_group(spec.group(), job.rank, job.world_size); !valid)
    return refuse(std::move(valid).error());

  CollectiveCall c{.operation = std::move(operation),
                   .signature = 0,
                   .group = spec.group(),
                   .index = spec.group().index_of(job.rank),
                   .op = spec.op,
                   .algorithm = *algorithm,
                   .dtype = input_type.dtype,
                   .reduction = std::nullopt,
                   .input = input.data,
                   .output = output.data,
                   .input_shape = input_type.shape,
                   .output_shape = result->shape,
                   .end_barrier = spec.end_barrier};
  c.signature = hash_of(c.operation.text());
  const Attributes& a = spec.attributes;
  if ((c.reduction = a.find<"reduce">())) {
    if (c.dtype == DType::boolean || (*c.reduction == Reduce::avg && !is_float(c.dtype)))
      return c.operation.fail(Code::DTypeMismatch, fmt::format("not defined for {}", to_string(c.dtype)));
  }
  if (const auto dim = a.find<"dim">()) c.dim = c.concat_dim = *dim;
  if (const auto split = a.find<"split_dim">()) c.dim = *split;
  if (const auto concat = a.find<"concat_dim">()) c.concat_dim = *concat;
  if (const auto root = a.find<"root">()) c.root = c.group.index_of(static_cast<int>(*root));
  if (const auto peer = a.find<"peer">()) c.peer = static_cast<int>(*peer);
  if (c.peer == job.rank) return c.operation.fail(Code::InvalidArgument, "a message to oneself");
  PERI_TRY(find_symmetric(c, find));
  if (c.members() > 1) PERI_TRY(check_overlap(c));
  return c;
}

}  // namespace peri::kernels
