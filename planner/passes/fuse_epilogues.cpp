// Which collectives do what follows them: the pointwise call that alone needs a collective's result, and a
// norm over what comes out, become the collective's epilogue. They then run where the collective stands, so
// whatever else they read must be there by then. No bit changes: a backend does the same calls in a row, or
// does them in one.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/ops/attributes_of.hpp"
#include "planner/lines.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {
namespace {

class EpilogueFuser {
 public:
  explicit EpilogueFuser(Plan plan) : plan_(std::move(plan)) {}

  Plan run() {
    index();
    for (int i = 0; i < static_cast<int>(plan_.lines.size()); ++i)
      if (auto* call = std::get_if<CollectiveLine>(&plan_.lines[i].line)) extend(i, *call);
    size_t next = 0;
    std::erase_if(plan_.lines, [&](const PlanLine&) { return dropped_[next++]; });
    return std::move(plan_);
  }

 private:
  struct Uses {
    std::vector<int> readers;  // lines, one for every window that is read
    int writes = 0;
    bool returned = false;
  };

  void index() {
    uses_.assign(plan_.buffers.size(), {});
    dropped_.assign(plan_.lines.size(), false);
    for (size_t i = 0; i < plan_.lines.size(); ++i) {
      const LineEffects touched = effects(std::as_const(plan_.lines[i].line));
      for (const PlanOperand& in : touched.reads) uses_[in.buffer].readers.push_back(static_cast<int>(i));
      for (const PlanOperand& out : touched.writes) {
        ++uses_[out.buffer].writes;
        made_[{out.buffer, out.version}] = static_cast<int>(i);
      }
    }
    for (const PlanOutput& output : plan_.outputs) uses_[output.value.buffer].returned = true;
  }

  KernelLine* kernel(int line) { return std::get_if<KernelLine>(&plan_.lines[line].line); }

  // Whether what stands at `line` may be done at `call`: it is captured like the call, and all that it reads
  // is made before, but input number `collected`.
  bool may_move(int line, int call, size_t collected) {
    if (plan_.lines[line].captured != plan_.lines[call].captured) return false;
    const std::vector<PlanOperand>& inputs = kernel(line)->inputs;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto made = made_.find({inputs[i].buffer, inputs[i].version});
      if (i != collected && made != made_.end() && made->second >= call) return false;
    }
    return true;
  }

  void extend(int position, CollectiveLine& call) {
    if (call.spec.info().inputs != 1 || call.spec.info().outputs != 1 || call.is_fallback()) return;
    std::vector<std::string> followers;
    if (const int line = only_reader(position, call.outputs[0]); line >= 0 && take_program(line, call)) {
      followers.push_back(kernel(line)->spec.name());
      dropped_[line] = true;
    }
    if (const int line = norm_of(call.outputs[0], position); line >= 0) {
      const KernelLine& norm = *kernel(line);
      call.spec.epilogue.rms_norm_eps = norm.spec.attributes.as<Op::rms_norm>().eps;
      call.inputs.push_back(norm.inputs[1]);
      call.outputs.push_back(norm.outputs[0]);
      followers.push_back(norm.spec.name());
      dropped_[line] = true;
    }
    if (followers.empty()) return;
    for (const PlanOperand& out : call.outputs) made_[{out.buffer, out.version}] = position;
    plan_.decisions.push_back({decision_subject(call.spec.op, call.spec.origin),
                               fmt::format("{} as epilogue", fmt::join(followers, " and ")),
                               "all else that is read there is made before"});
  }

  // The fused call that is all that reads the collective's result, or -1.
  int only_reader(int position, const PlanOperand& collected) {
    const Uses& uses = uses_[collected.buffer];
    if (uses.readers.size() != 1 || uses.writes != 1 || uses.returned) return -1;
    const int line = uses.readers[0];
    if (!kernel(line) || !kernel(line)->spec.is_fused()) return -1;
    return may_move(line, position, input_of(line, collected.buffer)) ? line : -1;
  }

  size_t input_of(int line, BufferId buffer) {
    const std::vector<PlanOperand>& inputs = kernel(line)->inputs;
    return static_cast<size_t>(std::ranges::find(inputs, buffer, &PlanOperand::buffer) - inputs.begin());
  }

  // The call's program and its operands, with the collective's result as the first register and what may
  // overwrite it as the first result. False if there is no such result.
  bool take_program(int line, CollectiveLine& call) {
    const KernelLine& pointwise = *kernel(line);
    const int result = static_cast<int>(input_of(line, call.outputs[0].buffer));
    const int first = first_result(pointwise, result);
    if (pointwise.inputs[result] != call.outputs[0] || first < 0) return false;
    FusedProgram& taken = call.spec.epilogue.program;
    taken = pointwise.spec.fused;
    std::rotate(taken.operand_dtypes.begin(), taken.operand_dtypes.begin() + result,
                taken.operand_dtypes.begin() + result + 1);
    for (FusedInstruction& instruction : taken.instructions)
      for (int& operand : instruction.operands)
        if (operand <= result) operand = operand == result ? 0 : operand + 1;
    std::swap(taken.results[0], taken.results[static_cast<size_t>(first)]);
    for (const PlanOperand& in : pointwise.inputs)
      if (in.buffer != call.outputs[0].buffer) call.inputs.push_back(in);
    call.outputs = pointwise.outputs;
    std::swap(call.outputs[0], call.outputs[static_cast<size_t>(first)]);
    return true;
  }

  // Which output of the call may lie in the memory of input number `collected`, rather one that is then
  // normalised; -1: none.
  int first_result(const KernelLine& line, int collected) {
    const FusedProgram& program = line.spec.fused;
    const int operands = static_cast<int>(line.inputs.size());
    int found = -1;
    for (int i = 0; i < static_cast<int>(line.outputs.size()); ++i) {
      const auto later =
          std::span(program.instructions).subspan(static_cast<size_t>(program.results[i] - operands) + 1);
      const bool read_later = std::ranges::any_of(later, [&](const FusedInstruction& instruction) {
        return std::ranges::find(instruction.operands, collected) != instruction.operands.end();
      });
      if (line.outputs[i].type != line.inputs[collected].type || read_later) continue;
      const bool is_normalised = std::ranges::any_of(uses_[line.outputs[i].buffer].readers, [&](int reader) {
        return is_norm(reader, line.outputs[i]);
      });
      if (found < 0 || is_normalised) found = i;
      if (is_normalised) break;
    }
    return found;
  }

  bool is_norm(int line, const PlanOperand& of) {
    const KernelLine* norm = kernel(line);
    return norm && !norm->spec.is_fused() && norm->spec.op == Op::rms_norm && norm->inputs[0] == of;
  }

  // A norm of the call's first output that may be done there, or -1.
  int norm_of(const PlanOperand& value, int position) {
    for (int line : uses_[value.buffer].readers)
      if (!dropped_[line] && is_norm(line, value) && may_move(line, position, 0)) return line;
    return -1;
  }

  Plan plan_;
  Store<BufferId, Uses> uses_;
  std::map<std::pair<BufferId, int32_t>, int> made_;  // the line that makes a value
  std::vector<bool> dropped_;                         // by line
};

}  // namespace

Plan fuse_epilogues(Plan plan) {
  return EpilogueFuser(std::move(plan)).run();
}

}  // namespace peri::planner
