// When a kernel may write its output over one of its inputs.
#include "planner/passes/in_place.hpp"

#include <algorithm>

namespace peri::planner {
namespace {

// Whether the windows' elements of one buffer lie apart: those of one all before those of the other.
bool apart(const View& a, const View& b) {
  const auto end = [](const View& view) {
    int64_t last = view.offset.count();
    for (int i = 0; i < view.shape.rank(); ++i) last += (view.shape[i] - 1) * view.strides[i];
    return last + 1;
  };
  return end(a) <= b.offset.count() || end(b) <= a.offset.count();
}

}  // namespace

bool may_work_in_place(const KernelLine& line, BufferId input, BufferId output) {
  auto out = std::ranges::find(line.outputs, output, &PlanOperand::buffer);
  PERI_CHECK(out != line.outputs.end(), "the line does not write this buffer");
  const auto elsewhere = [&](const PlanOperand& in) {
    return in.buffer != input || apart(in.type.view, out->type.view);
  };
  if (!line.spec.is_fused())
    return info(line.spec.op).family == Family::scatter && line.inputs[0].buffer == input &&
           line.inputs[0].type == out->type && elsewhere(line.inputs[1]) && elsewhere(line.inputs[2]);

  const FusedProgram& program = line.spec.fused;
  const int result = program.results[out - line.outputs.begin()];
  const int operands = static_cast<int>(line.inputs.size());
  for (int operand = 0; operand < operands; ++operand) {
    const PlanOperand& in = line.inputs[operand];
    if (elsewhere(in)) continue;
    if (in.type != out->type) return false;
    for (size_t i = static_cast<size_t>(std::max(0, result - operands + 1)); i < program.instructions.size();
         ++i)
      if (std::ranges::find(program.instructions[i].operands, operand) !=
          program.instructions[i].operands.end())
        return false;
  }
  return true;
}

}  // namespace peri::planner
