// Values that are written back to an input (a key-value cache) are made in the input's own memory where that
// is provably the same, which saves a buffer and a copy of all of it on every call.
#include <algorithm>

#include "planner/lines.hpp"
#include "planner/passes/in_place.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {

// Requires: the value is a plan buffer of ordinary memory, whole, and not returned; nothing reads the input's
// old value after the line that makes it; and that line may work in place.
Plan write_in_place(Plan plan) {
  if (std::ranges::all_of(plan.outputs, [](const PlanOutput& output) { return output.mutated_input < 0; }))
    return plan;
  Store<BufferId, int> writer(plan.buffers.size(), -1), last_read(plan.buffers.size(), -1);
  Store<BufferId, bool> returned(plan.buffers.size(), false);
  for (size_t i = 0; i < plan.lines.size(); ++i) {
    const LineEffects line = effects(std::as_const(plan.lines[i].line));
    for (const PlanOperand& operand : line.writes) writer[operand.buffer] = static_cast<int>(i);
    for (const PlanOperand& operand : line.reads) last_read[operand.buffer] = static_cast<int>(i);
  }
  for (const PlanOutput& output : plan.outputs)
    if (output.mutated_input < 0) returned[output.value.buffer] = true;

  std::vector<bool> dropped(plan.lines.size(), false);
  std::map<BufferId, BufferId> renamed;
  for (const PlanOutput& output : plan.outputs) {
    if (output.mutated_input < 0) continue;
    const BufferId input = output.value.buffer;
    const int back = writer[input];
    const PlanOperand value = std::get<KernelLine>(plan.lines[back].line).inputs[0];
    if (plan.buffer(value.buffer).kind != BufferKind::regular || returned[value.buffer] ||
        renamed.contains(value.buffer) || !is_whole(plan, value))
      continue;
    const int made = writer[value.buffer];
    if (made < 0) continue;
    const PlanLine& maker = plan.lines[made];
    const KernelLine* kernel = std::get_if<KernelLine>(&maker.line);
    if (!kernel || last_read[input] > made || plan.lines[back].captured != maker.captured) continue;
    if (last_read[input] == made && !may_work_in_place(*kernel, input, value.buffer)) continue;
    renamed.emplace(value.buffer, input);
    dropped[back] = true;
    plan.decisions.push_back(
        {plan.buffer(input).name, "written in place", "its old value is not read again"});
  }
  if (renamed.empty()) return plan;

  std::vector<PlanLine> lines;
  for (size_t i = 0; i < plan.lines.size(); ++i) {
    if (dropped[i]) continue;
    for_each_operand(plan.lines[i].line, [&](PlanOperand& operand) {
      auto found = renamed.find(operand.buffer);
      if (found == renamed.end()) return;
      operand.buffer = found->second;
      operand.version = 1;
    });
    lines.push_back(std::move(plan.lines[i]));
  }
  plan.lines = std::move(lines);
  return plan;
}

}  // namespace peri::planner
