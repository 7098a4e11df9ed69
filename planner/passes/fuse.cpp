// Pointwise fusion: which calls become one FusedProgram. Producers move down into the one call that needs
// them; calls that read the same values and stand side by side become one call with several outputs. By
// FusedProgram's definition no bit changes.
#include <algorithm>

#include "core/ops/attributes_of.hpp"
#include "planner/lines.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {
namespace {

// Beyond this a kernel's registers spill and compiling it takes longer than it saves.
constexpr size_t kMaxInstructions = 64;

class Fuser {
 public:
  explicit Fuser(Plan plan) : plan_(std::move(plan)) {}

  Plan run() {
    index();
    sink_producers();
    join_siblings();
    return emit();
  }

 private:
  struct Use {
    int line;
    bool whole;  // reads the buffer element by element, in its own order
  };
  // Calls that become one. `position` is the line where it runs: every operand is written before, every user
  // stands after.
  struct Fusion {
    std::vector<int> members;
    int position;
  };

  using FusionId = Id<Fusion>;

  KernelLine* kernel(int line) { return std::get_if<KernelLine>(&plan_.lines[line].line); }
  KernelLine* pointwise(int line) {
    KernelLine* found = line < 0 ? nullptr : kernel(line);
    return found && found->spec.is_fused() ? found : nullptr;
  }
  // A `full` that becomes an immediate wherever a fused call reads it, through whatever window.
  KernelLine* immediate(int line) {
    KernelLine* found = line < 0 ? nullptr : kernel(line);
    return found && !found->spec.is_fused() && found->spec.op == Op::full ? found : nullptr;
  }
  Fusion& fusion_of(int line) { return fusions_[fusion_[line]]; }
  int writer(BufferId buffer) const { return writer_[buffer]; }
  BufferId output(int line) { return kernel(line)->outputs[0].buffer; }

  void index() {
    const int buffers = plan_.buffers.size();
    const size_t lines = plan_.lines.size();
    writer_.assign(buffers, -1);
    uses_.assign(buffers, {});
    returned_.assign(buffers, false);
    fusion_.assign(lines, FusionId());
    int run = 0, ordered = 0;
    for (size_t i = 0; i < lines; ++i) {
      const int line = static_cast<int>(i);
      const LineEffects touched = effects(std::as_const(plan_.lines[i].line));
      for (const PlanOperand& operand : touched.writes)
        if (plan_.buffer(operand.buffer).index < 0) writer_[operand.buffer] = line;
      for (const PlanOperand& operand : touched.reads)
        uses_[operand.buffer].push_back({line, is_whole(plan_, operand)});
      // A window is overwritten by the line after the copy of all the rest.
      if (kernel(line) && kernel(line)->outputs[0].version > 0 && plan_.buffer(output(line)).index < 0)
        changes_[kernel(line - 1)->inputs[0].buffer].push_back(line);
      if (!pointwise(line) && !immediate(line)) ++run;
      const CollectiveLine* call = std::get_if<CollectiveLine>(&plan_.lines[i].line);
      if (call && info(call->spec.op).has(kEffect)) ++ordered;
      run_.push_back(run);
      effects_.push_back(ordered);
    }
    for (const PlanOutput& output : plan_.outputs) returned_[output.value.buffer] = true;
  }

  // From the last line backwards: a call all of whose users are in one fusion joins it. It then runs later,
  // where only that fusion needs it; it never moves past an effect.
  void sink_producers() {
    for (int i = static_cast<int>(plan_.lines.size()) - 1; i >= 0; --i) {
      if (!pointwise(i)) continue;
      const FusionId target = common_fusion(i);
      if (target.valid()) {
        fusions_[target].members.push_back(i);
        fusion_[i] = target;
      } else {
        fusion_[i] = fusions_.push_back({{i}, i});
      }
    }
  }

  // Whether what the line reads is changed through a view on the way to `position`: then the old value would
  // be needed beside the new one.
  bool outlives(int line, int position) {
    return std::ranges::any_of(kernel(line)->inputs, [&](const PlanOperand& in) {
      const auto changes = changes_.find(in.buffer);
      return changes != changes_.end() &&
             std::ranges::any_of(changes->second, [&](int at) { return line < at && at < position; });
    });
  }

  FusionId common_fusion(int line) {
    const std::vector<Use>& uses = uses_[output(line)];
    if (uses.empty() || returned_[output(line)]) return FusionId();
    const FusionId target = fusion_[uses[0].line];
    for (const Use& use : uses)
      if (!use.whole || !target.valid() || fusion_[use.line] != target) return FusionId();
    const Fusion& fusion = fusions_[target];
    return compatible(line, fusion.position) && effects_[line] == effects_[fusion.position] &&
                   !outlives(line, fusion.position) && fusion.members.size() < kMaxInstructions
               ? target
               : FusionId();
  }

  bool compatible(int a, int b) {
    return plan_.buffer(output(a)).type.shape == plan_.buffer(output(b)).type.shape &&
           plan_.buffer(output(a)).type.place == plan_.buffer(output(b)).type.place &&
           plan_.lines[a].captured == plan_.lines[b].captured;
  }

  template <class F>
  void for_each_operand(const Fusion& fusion, F f) {  // what it reads from outside
    for (int member : fusion.members)
      for (const PlanOperand& operand : kernel(member)->inputs)
        if (from_outside(fusion, operand)) f(operand, writer(operand.buffer));
  }
  bool from_outside(const Fusion& fusion, const PlanOperand& operand) {
    const int from = writer(operand.buffer);
    return !immediate(from) && !(pointwise(from) && &fusion_of(from) == &fusion);
  }

  // In order: a fusion joins an earlier one that reads a value it reads too, or makes one, when nothing but
  // pointwise calls stands between and all its operands are there. It then runs earlier; nothing is kept
  // alive across other work.
  void join_siblings() {
    Store<BufferId, FusionId> last_reader(plan_.buffers.size());
    for (int i = 0; i < static_cast<int>(plan_.lines.size()); ++i) {
      if (!pointwise(i) || fusion_of(i).position != i) continue;
      FusionId home = fusion_[i];
      Fusion& fusion = fusion_of(i);
      FusionId target;
      for_each_operand(fusion, [&](const PlanOperand& operand, int from) {
        if (!target.valid()) target = joined(fusion, last_reader[operand.buffer]);
        if (!target.valid() && pointwise(from)) target = joined(fusion, fusion_[from]);
      });
      if (target.valid()) {
        std::vector<int>& members = fusions_[target].members;
        members.insert(members.end(), fusion.members.begin(), fusion.members.end());
        for (int member : fusion.members) fusion_[member] = target;
        fusion.members.clear();
        home = target;
      }
      for_each_operand(fusions_[home],
                       [&](const PlanOperand& operand, int) { last_reader[operand.buffer] = home; });
    }
  }

  // `candidate` if `fusion` may join it, else none.
  FusionId joined(const Fusion& fusion, FusionId candidate) {
    if (!candidate.valid()) return candidate;
    const Fusion& target = fusions_[candidate];
    if (run_[fusion.position] != run_[target.position] || !compatible(fusion.position, target.position) ||
        fusion.members.size() + target.members.size() > kMaxInstructions)
      return FusionId();
    bool possible = true;
    for_each_operand(fusion, [&](const PlanOperand& operand, int from) {
      if (pointwise(from) && &fusion_of(from) == &target)
        possible = possible && is_whole(plan_, operand);
      else
        possible = possible && (pointwise(from) ? fusion_of(from).position : from) < target.position;
    });
    return possible ? candidate : FusionId();
  }

  // All calls are merged before any line moves, for a fusion's members may stand anywhere.
  Plan emit() {
    std::vector<std::pair<int, KernelLine>> merged;  // (position, call)
    for (Fusion& fusion : fusions_)
      if (!fusion.members.empty() && changes(fusion)) merged.emplace_back(fusion.position, merge(fusion));
    std::vector<bool> kept(plan_.lines.size());
    for (size_t i = 0; i < kept.size(); ++i) {
      const int line = static_cast<int>(i);
      kept[i] =
          pointwise(line) ? fusion_of(line).position == line : !immediate(line) || !only_immediate(line);
    }
    for (auto& [position, line] : merged) plan_.lines[position].line = std::move(line);
    size_t count = 0;
    for (size_t i = 0; i < kept.size(); ++i) {
      if (!kept[i]) continue;
      if (count != i) plan_.lines[count] = std::move(plan_.lines[i]);
      ++count;
    }
    plan_.lines.erase(plan_.lines.begin() + static_cast<ptrdiff_t>(count), plan_.lines.end());
    return std::move(plan_);
  }

  bool changes(const Fusion& fusion) {
    return fusion.members.size() > 1 ||
           std::ranges::any_of(kernel(fusion.members[0])->inputs, [&](const PlanOperand& in) {
             return immediate(writer(in.buffer)) != nullptr;
           });
  }

  bool only_immediate(int line) {
    return !returned_[output(line)] && std::ranges::all_of(uses_[output(line)], [&](const Use& use) {
      return pointwise(use.line) != nullptr;
    });
  }

  // One call for all members, which keep the order of the program.
  KernelLine merge(Fusion& fusion) {
    std::ranges::sort(fusion.members);
    KernelLine line{{}, {}, {}, kernel(fusion.members.back())->origin};
    std::map<std::pair<int, int>, int> input_of;  // (member, its operand): the call's
    for (int member : fusion.members)
      for (int i = 0; i < static_cast<int>(kernel(member)->inputs.size()); ++i) {
        const PlanOperand& operand = kernel(member)->inputs[i];
        if (!from_outside(fusion, operand)) continue;
        auto known = std::ranges::find_if(
            line.inputs, [&](const PlanOperand& in) { return same_everywhere(plan_, in, operand); });
        input_of[{member, i}] = static_cast<int>(known - line.inputs.begin());
        if (known == line.inputs.end()) line.inputs.push_back(operand);
      }
    FusedProgram& program = line.spec.fused;
    for (const PlanOperand& operand : line.inputs) program.operand_dtypes.push_back(operand.type.dtype);
    auto add = [&](FusedInstruction instruction) {
      program.instructions.push_back(std::move(instruction));
      return static_cast<int>(line.inputs.size() + program.instructions.size()) - 1;
    };
    std::vector<std::pair<int, int>> registers;  // (line, register) of members and immediates
    auto find = [&](int from) {
      auto known = std::ranges::find(registers, from, &std::pair<int, int>::first);
      return known == registers.end() ? -1 : known->second;
    };
    for (int member : fusion.members) {
      const KernelLine& call = *kernel(member);
      FusedInstruction instruction = call.spec.fused.instructions[0];
      for (int& operand : instruction.operands) {
        const int number = operand;
        const PlanOperand& in = call.inputs[number];
        const int from = writer(in.buffer);
        operand = from < 0 ? -1 : find(from);
        if (operand < 0 && immediate(from)) {
          operand = add({Op::full, {}, in.type.dtype, immediate(from)->spec.attributes.as<Op::full>().value});
          registers.emplace_back(from, operand);
        }
        if (operand < 0) operand = input_of.at({member, number});
      }
      registers.emplace_back(member, add(std::move(instruction)));
      if (needed_outside(member, fusion)) {
        line.outputs.push_back(call.outputs[0]);
        program.results.push_back(registers.back().second);
      }
    }
    return line;
  }

  bool needed_outside(int member, const Fusion& fusion) {
    const std::vector<Use>& uses = uses_[output(member)];
    return returned_[output(member)] || uses.empty() || std::ranges::any_of(uses, [&](const Use& use) {
             return !pointwise(use.line) || &fusion_of(use.line) != &fusion;
           });
  }

  Plan plan_;
  Store<BufferId, int> writer_;  // the line that writes it; -1 for inputs and constants
  Store<BufferId, std::vector<Use>> uses_;
  Store<BufferId, bool> returned_;
  std::vector<int> run_, effects_;  // by line: how many non-pointwise lines, how many effects up to it
  std::vector<FusionId> fusion_;    // by line; none for lines that are not pointwise
  Store<FusionId, Fusion> fusions_;
  // By buffer: where it is changed through a view (its copy is).
  std::map<BufferId, std::vector<int>> changes_;
};

}  // namespace

Plan fuse(Plan plan) {
  return Fuser(std::move(plan)).run();
}

}  // namespace peri::planner
