// What a program changes in place is changed in place, where that is provably the same. A tensor that is
// changed through a view is one value after another in one buffer, not a copy of all of it for each change;
// the view's new value is made where it belongs; and what is written back to an input (a key-value cache) is
// made in the input's own memory.
#include <algorithm>

#include "planner/lines.hpp"
#include "planner/passes/in_place.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {
namespace {

// All of a buffer's elements in their order, in whatever shape.
bool is_all(const Plan& plan, const PlanOperand& operand) {
  const View& view = operand.type.view;
  return view.offset == Elements() && view.is_contiguous() &&
         numel(view.shape) == numel(plan.buffer(operand.buffer).type.shape);
}

class InPlaceWriter {
 public:
  explicit InPlaceWriter(Plan plan)
      : plan_(std::move(plan)),
        uses_(plan_.buffers.size()),
        home_(plan_.buffers.size()),
        sharded_(plan_.buffers.size(), false),
        dropped_(plan_.lines.size(), false) {
    for (BufferId id : plan_.sharded) sharded_[id] = true;
  }

  Plan run() {
    index();
    const int lines = static_cast<int>(plan_.lines.size());
    for (int i = 0; i < lines; ++i) make_in_window(i);
    for (int i = 0; i < lines; ++i) join_values(i);
    for (PlanOutput& output : plan_.outputs)
      if (output.mutated_input >= 0) write_to_input(output);
    return emit();
  }

 private:
  // Of one buffer; lines by position.
  struct Uses {
    std::vector<int> writers;
    int reads = 0, last_read = -1;
    bool returned = false;
  };
  // The buffer whose values a buffer's values have become, and the number of the first of them.
  struct Home {
    BufferId buffer;
    int32_t first = 0;
  };

  Uses& uses(BufferId id) { return uses_[id]; }
  KernelLine* kernel(int line) { return std::get_if<KernelLine>(&plan_.lines[line].line); }
  KernelLine* copy(int line) {
    KernelLine* found = kernel(line);
    const bool copies = found && !found->spec.is_fused() && found->spec.op == Op::contiguous;
    return copies && !found->identity_copy ? found : nullptr;
  }
  bool captured(int line) const { return plan_.lines[line].captured; }
  bool is_ordinary(BufferId id) const { return plan_.buffer(id).kind == BufferKind::regular; }
  bool is_sharded(BufferId id) const { return sharded_[id]; }

  PlanOperand resolved(PlanOperand operand) const {
    while (home_[operand.buffer].buffer.valid()) {
      const Home& home = home_[operand.buffer];
      operand.buffer = home.buffer;
      operand.version += home.first;
    }
    return operand;
  }

  void index() {
    for (size_t i = 0; i < plan_.lines.size(); ++i) {
      const LineEffects line = effects(std::as_const(plan_.lines[i].line));
      for (const PlanOperand& operand : line.writes)
        uses(operand.buffer).writers.push_back(static_cast<int>(i));
      for (const PlanOperand& operand : line.reads) {
        ++uses(operand.buffer).reads;
        uses(operand.buffer).last_read = static_cast<int>(i);
      }
    }
    for (const PlanOutput& output : plan_.outputs)
      if (output.mutated_input < 0) uses(output.value.buffer).returned = true;
  }

  // --- a view's new value is made where the view lies ---

  // The call that makes what `line` copies into a window takes its place. Not where windows lie elsewhere on
  // other ranks, as all ranks must decide alike.
  void make_in_window(int line) {
    const KernelLine* window = copy(line);
    if (!window || window->outputs[0].version == 0 || !is_ordinary(window->outputs[0].buffer) ||
        is_sharded(window->outputs[0].buffer))
      return;
    const PlanOperand source = window->inputs[0], target = window->outputs[0];
    const Uses& made = uses(source.buffer);
    if (!is_ordinary(source.buffer) || made.returned || made.reads != 1 || made.writers.size() != 1) return;
    const int maker = made.writers[0];
    KernelLine* call = kernel(maker);
    if (!call || call->outputs.size() != 1 || call->outputs[0] != source || captured(maker) != captured(line))
      return;
    if (!call->spec.is_fused() && info(call->spec.op).family != Family::scatter) return;
    for (const PlanOperand& in : call->inputs)
      if (is_sharded(in.buffer) || changes_between(in.buffer, maker, line)) return;
    uses(source.buffer) = {};
    call->outputs[0] = target;
    for (const PlanOperand& in : call->inputs) {
      int& last = uses(in.buffer).last_read;
      last = std::max(last, line);
    }
    plan_.lines[line].line = std::move(*call);
    dropped_[maker] = true;
  }

  // Whether a line between the two writes the buffer, or may overwrite it as a collective's operand.
  bool changes_between(BufferId id, int from, int to) {
    if (std::ranges::any_of(uses(id).writers, [&](int line) { return from < line && line < to; }))
      return true;
    for (int i = from + 1; i < to && plan_.buffer(id).is_symmetric(); ++i)
      if (const auto* call = std::get_if<CollectiveLine>(&plan_.lines[i].line))
        if (std::ranges::find(call->inputs, id, &PlanOperand::buffer) != call->inputs.end()) return true;
    return false;
  }

  // --- one value after another in one buffer ---

  // A copy of all of a buffer, into one that is then changed, is not needed where nothing reads the old value
  // after it.
  void join_values(int line) {
    const KernelLine* base = copy(line);
    if (!base || dropped_[line]) return;
    const BufferId changed = base->outputs[0].buffer;
    const PlanOperand from = resolved(base->inputs[0]);
    if (!is_ordinary(changed) || !is_ordinary(from.buffer) || changed == from.buffer) return;
    if (uses(changed).writers.size() < 2 || uses(changed).writers[0] != line || !is_all(plan_, from)) return;
    const Uses& old = uses(from.buffer);
    if (old.returned || old.writers.back() > line || !is_last_read(from.buffer, line, changed)) return;
    become(changed, from.buffer, from.version, line);
  }

  // Whether nothing reads `old` after `line`, which copies it to `changed`, but perhaps the call that then
  // changes it, which may work in place.
  bool is_last_read(BufferId old, int line, BufferId changed) {
    const int last = uses(old).last_read, first_change = uses(changed).writers[1];
    if (last <= line) return true;
    if (last != first_change || !kernel(last)) return false;
    KernelLine call = *kernel(last);
    for (std::vector<PlanOperand>* operands : {&call.inputs, &call.outputs})
      for (PlanOperand& operand : *operands) operand = resolved(operand);
    return may_work_in_place(call, old, changed);
  }

  // The values of `changed`, all but the copy that `line` makes, are the next of `home`.
  void become(BufferId changed, BufferId home, int32_t first, int line) {
    home_[changed] = {home, first};
    dropped_[line] = true;
    Uses &from = uses(changed), &to = uses(home);
    for (int writer : from.writers)
      if (writer != line) to.writers.push_back(writer);
    to.last_read = std::max(to.last_read, from.last_read);
    to.returned = to.returned || from.returned;
  }

  // --- inputs ---

  // Requires: the value is a plan buffer of ordinary memory, whole, and not returned; nothing reads the
  // input's old value after the line that makes it; and that line may work in place.
  void write_to_input(PlanOutput& output) {
    const BufferId input = output.value.buffer;
    const int back = uses(input).writers[0];
    const PlanOperand value = resolved(kernel(back)->inputs[0]);
    const Uses& made = uses(value.buffer);
    if (!is_ordinary(value.buffer) || made.returned || made.writers.empty() || !is_all(plan_, value) ||
        value.version + 1 != std::ssize(made.writers))
      return;
    for (int writer : made.writers)
      if (!kernel(writer) || captured(writer) != captured(back)) return;
    const int first = made.writers[0];
    const KernelLine* begin = copy(first);
    const bool continues = begin && made.writers.size() > 1 && begin->inputs[0].buffer == input &&
                           is_all(plan_, begin->inputs[0]);
    if (continues ? !is_last_read(input, first, value.buffer) : !may_begin(input, first, value.buffer))
      return;
    plan_.decisions.push_back(
        {plan_.buffer(input).name, "written in place", "its old value is not read again"});
    dropped_[back] = true;
    home_[value.buffer] = {input, continues ? 0 : 1};
    if (continues) dropped_[first] = true;
    output.value.version = value.version + home_[value.buffer].first;
  }

  bool may_begin(BufferId input, int line, BufferId made) {
    const int last = uses(input).last_read;
    if (last != line) return last < line;
    KernelLine call = *kernel(line);
    for (PlanOperand& operand : call.outputs) operand = resolved(operand);
    return may_work_in_place(call, input, made);
  }

  Plan emit() {
    std::vector<PlanLine> lines;
    for (size_t i = 0; i < plan_.lines.size(); ++i) {
      if (dropped_[i]) continue;
      for_each_operand(plan_.lines[i].line, [&](PlanOperand& operand) { operand = resolved(operand); });
      lines.push_back(std::move(plan_.lines[i]));
    }
    plan_.lines = std::move(lines);
    for (PlanOutput& output : plan_.outputs) output.value = resolved(output.value);
    return std::move(plan_);
  }

  Plan plan_;
  Store<BufferId, Uses> uses_;
  // Invalid: its own.
  Store<BufferId, Home> home_;
  Store<BufferId, bool> sharded_;  // its windows lie elsewhere on other ranks
  std::vector<bool> dropped_;      // by line
};

}  // namespace

Plan write_in_place(Plan plan) {
  const bool writes_back =
      std::ranges::any_of(plan.outputs, [](const PlanOutput& output) { return output.mutated_input >= 0; });
  const bool changes = std::ranges::any_of(plan.lines, [](const PlanLine& line) {
    return std::ranges::any_of(effects(line.line).writes,
                               [](const PlanOperand& operand) { return operand.version > 0; });
  });
  return writes_back || changes ? InPlaceWriter(std::move(plan)).run() : plan;
}

}  // namespace peri::planner
