// What must hold of a plan's line whatever lies in memory. Shares no code with the passes.
#include "planner/check/check_line.hpp"

namespace peri::planner {
namespace {

Status require(bool holds, std::string rule) {
  return holds ? Status() : fail(Code::PlanInvalid, std::move(rule));
}

const Group* group_of(const Buffer& buffer) {
  const auto* comm = std::get_if<CommBuffer>(&buffer.layout);
  return comm ? &comm->group : nullptr;
}
TensorType type_of(const Plan& plan, const PlanOperand& o) {
  return {o.type.dtype, o.type.view.shape, plan.buffer(o.buffer).type.place};
}

Status check_window(const Plan& plan, const PlanOperand& o) {
  const View& view = o.type.view;
  const Buffer& buffer = plan.buffer(o.buffer);
  int64_t last = view.offset;
  bool inside = view.offset >= 0;
  for (int i = 0; i < view.shape.rank(); ++i) {
    last += (view.shape[i] - 1) * view.strides[i];
    inside = inside && view.strides[i] >= 0;
  }
  inside = inside && last < numel(buffer.type.shape);
  PERI_TRY(require(o.type.dtype == buffer.type.dtype, buffer.name + " is used as another dtype"));
  return require(inside || numel(view.shape) == 0, "a window reaches outside " + buffer.name);
}

Status check_fused(const FusedProgram& program, const KernelLine& line) {
  const size_t operands = line.inputs.size();
  PERI_TRY(require(program.operand_dtypes.size() == operands &&
                       program.results.size() == line.outputs.size() && !line.outputs.empty(),
                   "a fused call has another number of operands than its program"));
  const Shape& shape = line.outputs[0].type.view.shape;
  for (size_t i = 0; i < operands; ++i)
    PERI_TRY(require(
        line.inputs[i].type.dtype == program.operand_dtypes[i] && line.inputs[i].type.view.shape == shape,
        "a fused call's operand has another type than its program's"));
  for (size_t i = 0; i < program.instructions.size(); ++i)
    for (int operand : program.instructions[i].operands)
      PERI_TRY(require(operand >= 0 && static_cast<size_t>(operand) < operands + i,
                       "an instruction reads a register that is not made yet"));
  for (size_t i = 0; i < line.outputs.size(); ++i) {
    const size_t made = static_cast<size_t>(program.results[i]) - operands;  // wraps for an operand
    const OperandType& out = line.outputs[i].type;
    PERI_TRY(require(made < program.instructions.size() && program.instructions[made].dtype == out.dtype &&
                         out.view.shape == shape,
                     "a fused call's result has another type than its output"));
  }
  return {};
}

Status check_inferred(const Plan& plan, Op op, const Attributes& attributes,
                      std::span<const PlanOperand> inputs, const PlanOperand& output) {
  std::vector<TensorType> types;
  for (const PlanOperand& in : inputs) types.push_back(type_of(plan, in));
  const TensorType made = PERI_TRY(infer(op, types, attributes)), stored = type_of(plan, output);
  return require(made == stored, std::string(to_string(op)) + " makes " + made.to_string() +
                                     ", and its output is " + stored.to_string());
}

Status check(const Plan& plan, const KernelLine& line, bool) {
  for (const PlanOperand& in : line.inputs) PERI_TRY(check_window(plan, in));
  for (const PlanOperand& out : line.outputs) PERI_TRY(check_window(plan, out));
  for (size_t i = 0; i < line.outputs.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      PERI_TRY(require(line.outputs[i].buffer != line.outputs[k].buffer, "one call writes a buffer twice"));
  if (line.spec.is_fused()) return check_fused(line.spec.fused, line);
  PERI_TRY(require(line.outputs.size() == 1, "a call of one op has one output"));
  return check_inferred(plan, line.spec.op, line.spec.attributes, line.inputs, line.outputs[0]);
}

Status check(const Plan& plan, const CollectiveLine& line, bool) {
  const Buffer &in = plan.buffer(line.input.buffer), &out = plan.buffer(line.output.buffer);
  const Group& group = line.attributes.get<Group>("group");
  const AlgorithmInfo* row = find_algorithm(line.op, line.algorithm);
  PERI_TRY(check_window(plan, line.input));
  PERI_TRY(check_window(plan, line.output));
  PERI_TRY(require(line.input.type.view.is_contiguous() && line.output.type.view.is_contiguous(),
                   "a collective's operand is not contiguous"));
  PERI_TRY(require(row != nullptr, "unknown algorithm " + line.algorithm));
  PERI_TRY(require(group.index_of(plan.world.rank) >= 0, "this rank is not in the group"));
  PERI_TRY(check_inferred(plan, line.op, line.attributes, std::span(&line.input, 1), line.output));
  if (line.op == Op::send || line.op == Op::barrier)
    return require(line.input == line.output, "it writes nothing, so it has no output of its own");
  PERI_TRY(require((out.kind == BufferKind::fallback) != line.call_name.empty(),
                   "only what a call allocates itself has a name besides its output's"));
  PERI_TRY(require(!row->clobbers_input || !is_source(in), "the algorithm overwrites the caller's tensor"));
  const Buffer& shared = row->symmetric == kInput ? in : out;
  return require(row->symmetric == kNoOperand || (group_of(shared) && *group_of(shared) == group),
                 shared.name + " is not in symmetric memory of the group");
}

Status check(const Plan& plan, const DeviceCopyLine& line, bool captured) {
  PERI_TRY(check_window(plan, line.from));
  PERI_TRY(check_window(plan, line.to));
  const TensorType from = type_of(plan, line.from), to = type_of(plan, line.to);
  PERI_TRY(require(!captured, "a copy between places is captured"));
  return require(from.place != to.place && from.dtype == to.dtype && from.shape == to.shape,
                 "a device copy changes the place and nothing else");
}

Status check(const Plan& plan, const InputCopyLine& line, bool) {
  const Buffer &to = plan.buffer(line.to.buffer), &from = plan.buffer(line.from.buffer);
  return require(is_source(from) && to.kind == BufferKind::comm && to.type == from.type,
                 "an input copy fills a comm buffer of the input's type");
}

Status check(const Plan& plan, const AllocateLine& line, bool) {
  const Buffer& buffer = plan.buffer(line.buffer);
  return require(group_of(buffer) ? buffer.kind == BufferKind::comm : buffer.kind == BufferKind::regular,
                 buffer.name + " is not for the plan to allocate");
}

Status check(const Plan& plan, const ReuseLine& line, bool) {
  const Buffer &to = plan.buffer(line.buffer), &from = plan.buffer(line.from);
  const Group *mine = group_of(to), *theirs = group_of(from);
  const bool same_group = mine ? theirs && *mine == *theirs : !theirs;
  const bool planned = to.kind == BufferKind::regular || to.kind == BufferKind::comm;
  return require(planned && same_group && to.kind == from.kind && to.type.dtype == from.type.dtype &&
                     to.type.place == from.type.place && to.bytes() == from.bytes(),
                 to.name + " takes over storage of another kind");
}

Status check(const Plan& plan, const FreeLine& line, bool) {
  return require(!is_source(plan.buffer(line.buffer)), "the caller's tensor is freed");
}

}  // namespace

Status check_line(const Plan& plan, size_t line) {
  return std::visit([&](const auto& l) { return check(plan, l, plan.lines[line].captured); },
                    plan.lines[line].line);
}

bool may_overwrite(const Plan& plan, const KernelLine& line, size_t input, size_t output) {
  const PlanOperand &in = line.inputs[input], &out = line.outputs[output];
  if (in.type != out.type || group_of(plan.buffer(out.buffer))) return false;
  if (!line.spec.is_fused()) return line.spec.op == Op::index_copy && input == 0;
  const std::vector<FusedInstruction>& steps = line.spec.fused.instructions;
  for (size_t i = static_cast<size_t>(line.spec.fused.results[output]) + 1 - line.inputs.size();
       i < steps.size(); ++i)
    for (int operand : steps[i].operands)
      if (static_cast<size_t>(operand) == input) return false;
  return true;
}

}  // namespace peri::planner
