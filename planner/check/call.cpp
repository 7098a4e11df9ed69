// What one call asks of its operands: types by the ops' own rules, fused programs register by register.
#include "planner/check/call.hpp"

#include <fmt/format.h>

#include "core/overloaded.hpp"

namespace peri::planner::check {
namespace {

TensorType type_of(const Plan& plan, const PlanOperand& operand) {
  return {operand.type.dtype, operand.type.view.shape, plan.buffer(operand.buffer).type.place};
}

std::string wrong_output(const Plan& plan, Op op, const TensorType& made, const PlanOperand& output) {
  const TensorType stored = type_of(plan, output);
  return made == stored ? ""
                        : fmt::format("{} makes {}, and its output is {}", to_string(op), made.to_string(),
                                      stored.to_string());
}

// Registers: the operands, then one per instruction.
std::string wrong_program(const FusedProgram& program, const KernelLine& line) {
  const size_t operands = line.inputs.size();
  if (program.operand_dtypes.size() != operands || program.results.size() != line.outputs.size() ||
      line.outputs.empty())
    return "a fused call has another number of operands than its program";
  const Shape& shape = line.outputs[0].type.view.shape;
  for (size_t i = 0; i < operands; ++i)
    if (line.inputs[i].type.dtype != program.operand_dtypes[i] || line.inputs[i].type.view.shape != shape)
      return "a fused call's operand has another type than its program's";
  for (size_t i = 0; i < program.instructions.size(); ++i) {
    const FusedInstruction& step = program.instructions[i];
    const OpInfo& row = info(step.op);
    if (!row.has(kPointwise) && step.op != Op::full)
      return fmt::format("{} is no instruction of a fused call", row.name);
    if (static_cast<int>(step.operands.size()) != row.min_operands)
      return fmt::format("{} has {} operands in a fused call", row.name, step.operands.size());
    for (int operand : step.operands)
      if (operand < 0 || static_cast<size_t>(operand) >= operands + i)
        return "an instruction reads a register that is not made yet";
  }
  for (size_t i = 0; i < line.outputs.size(); ++i) {
    const int64_t made = program.results[i] - static_cast<int64_t>(operands);
    const OperandType& out = line.outputs[i].type;
    if (made < 0 || made >= static_cast<int64_t>(program.instructions.size()) ||
        program.instructions[made].dtype != out.dtype || out.view.shape != shape)
      return "a fused call's result has another type than its output";
  }
  return {};
}

}  // namespace

std::vector<BufferId> buffers_of(const Line& line) {
  auto both = [](const auto& l) {
    std::vector<BufferId> ids;
    for (const PlanOperand& in : l.inputs) ids.push_back(in.buffer);
    for (const PlanOperand& out : l.outputs) ids.push_back(out.buffer);
    return ids;
  };
  return std::visit(
      Overloaded{[](const AllocateLine& l) { return std::vector{l.buffer}; },
                 [](const ReuseLine& l) { return std::vector{l.buffer, l.from}; },
                 [](const FreeLine& l) { return std::vector{l.buffer}; },
                 [](const InputCopyLine& l) { return std::vector{l.from.buffer, l.to.buffer}; },
                 [&](const KernelLine& l) { return both(l); },
                 [&](const CollectiveLine& l) { return both(l); },
                 [](const DeviceCopyLine& l) { return std::vector{l.from.buffer, l.to.buffer}; }},
      line);
}

std::string wrong_types(const Plan& plan, const KernelLine& line) {
  if (line.spec.is_fused()) return wrong_program(line.spec.fused, line);
  if (line.outputs.size() != info(line.spec.op).results)
    return "a call has another number of outputs than its op";
  std::vector<TensorType> types;
  for (const PlanOperand& in : line.inputs) types.push_back(type_of(plan, in));
  const Result<ResultTypes> made = infer_results(line.spec.op, types, line.spec.attributes);
  if (!made) return made.error().message;
  for (size_t i = 0; i < line.outputs.size(); ++i)
    if (std::string wrong = wrong_output(plan, line.spec.op, (*made)[i], line.outputs[i]); !wrong.empty())
      return wrong;
  return {};
}

std::string wrong_types(const Plan& plan, const CollectiveLine& line) {
  const CollectiveSpec& spec = line.spec;
  if (!spec.algorithm || spec.algorithm->op != spec.op) return "it has no algorithm of its op";
  if (static_cast<int>(line.inputs.size()) != spec.input_count() ||
      static_cast<int>(line.outputs.size()) != spec.output_count())
    return spec.epilogue.empty() ? "a collective has another number of operands than its op"
                                 : "a collective has another number of operands than its epilogue";
  if (!spec.epilogue.empty() && line.is_fallback()) return "a call that allocates its output has an epilogue";
  for (const std::vector<PlanOperand>* operands : {&line.inputs, &line.outputs})
    if (!operands->empty() && !operands->front().type.view.is_contiguous())
      return "a collective's operand is not contiguous";
  std::vector<TensorType> types;
  for (const PlanOperand& in : line.inputs) types.push_back(type_of(plan, in));
  if (types.empty()) types.push_back(type_of(plan, line.outputs[0]));
  const Result<std::vector<TensorType>> made = infer_outputs(spec, types);
  if (!made) return made.error().message;
  for (size_t i = 0; i < made->size(); ++i)
    if (std::string wrong = wrong_output(plan, spec.op, (*made)[i], line.outputs[i]); !wrong.empty())
      return wrong;
  return {};
}

bool may_overwrite(const Plan& plan, const KernelLine& line, size_t input, size_t output) {
  const PlanOperand &in = line.inputs[input], &out = line.outputs[output];
  if (in.type != out.type || plan.buffer(out.buffer).is_symmetric()) return false;
  if (!line.spec.is_fused()) return info(line.spec.op).family == Family::scatter && input == 0;
  const std::vector<FusedInstruction>& steps = line.spec.fused.instructions;
  for (size_t i = static_cast<size_t>(line.spec.fused.results[output]) + 1 - line.inputs.size();
       i < steps.size(); ++i)
    for (int operand : steps[i].operands)
      if (static_cast<size_t>(operand) == input) return false;
  return true;
}

}  // namespace peri::planner::check
