// check_plan against the program: a plan that is right in itself must also be this program's.
#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "planner/plan.hpp"

namespace peri::planner {
namespace {

// Whether a node may be its operand unchanged, perhaps in another order.
bool passes_on(const Node& node) {
  const OpInfo& row = info(node.op);
  const bool alone = row.has(kCollective) && node.attributes.get<"group">().size() == 1;
  return alone || row.has(kView) || row.has(kDeviceCopy) || node.op == Op::contiguous ||
         node.op == Op::send || node.op == Op::barrier;
}

// Whether the value may be that input unchanged. Then a plan need not write it back.
bool may_be_input(const Graph& program, NodeId value, NodeId input) {
  while (value != input && passes_on(program.node(value))) value = program.node(value).operands[0];
  return value == input;
}

bool writes_back(const Plan& plan, int input) {
  for (const PlanOutput& output : plan.outputs)
    if (output.mutated_input == input) return true;
  return false;
}

}  // namespace

Status check_plan(const Plan& plan, const Graph& program) {
  PERI_TRY(check_plan(plan));
  auto refuse = [](std::string what) { return fail(Code::PlanInvalid, std::move(what)); };
  std::vector<TensorType> given, wanted;
  for (const auto& [value, mutated_input] : plan.outputs)
    if (mutated_input < 0)
      given.push_back({value.type.dtype, value.type.view.shape, plan.buffer(value.buffer).type.place});
  const std::vector<NodeId> inputs = program.inputs();
  for (const Output& output : program.outputs()) {
    if (output.mutated_input < 0) {
      wanted.push_back(program.node(output.value).type);
      continue;
    }
    const NodeId input = inputs[output.mutated_input];
    if (!writes_back(plan, output.mutated_input) && !may_be_input(program, output.value, input))
      return refuse(fmt::format("the program writes a value back to input {}, and the plan does not",
                                output.mutated_input));
  }
  if (given.size() != wanted.size())
    return refuse(fmt::format("the program returns {} values, and the plan {}", wanted.size(), given.size()));
  for (size_t i = 0; i < given.size(); ++i)
    if (given[i] != wanted[i])
      return refuse(fmt::format("output {} of the plan is {}, and the program's is {}", i + 1,
                                given[i].to_string(), wanted[i].to_string()));
  return {};
}

}  // namespace peri::planner
