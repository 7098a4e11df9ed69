// Decides where the operands that peers touch lie (S1, S3 and S6 of SYSTEMS.md): in a buffer of ours that
// becomes a comm buffer, in one persistent copy of a graph input, or in an identity copy. Each decision
// carries its reason.
#include <algorithm>
#include <climits>
#include <span>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "planner/lines.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {
namespace {

class Realizer {
 public:
  explicit Realizer(Plan plan) : plan_(std::move(plan)) {}

  Plan run() {
    index();
    std::vector<PlanLine> lines = std::move(plan_.lines);
    plan_.lines.clear();
    plan_.lines.reserve(lines.size());
    for (size_t i = 0; i < lines.size(); ++i) {
      position_ = static_cast<int>(i);
      captured_ = lines[i].captured;
      Line& line = lines[i].line;
      rename_operands(line);
      CollectiveLine* call = std::get_if<CollectiveLine>(&line);
      const SymmetricOperand wanted = call ? call->spec.algorithm->symmetric : kNoOperand;
      if (wanted == kNoOperand) {
        emit(std::move(line));
      } else if (wanted == kInput) {
        realize_input(*call);
        emit(std::move(line));
      } else {
        realize_output(std::move(*call));
      }
    }
    return std::move(plan_);
  }

 private:
  using Wanted = std::pair<BufferId, Group>;  // a buffer, and the group whose peers touch it

  void index() {
    last_read_.assign(plan_.buffers.size(), -1);
    returned_.assign(plan_.buffers.size(), false);
    for (size_t i = 0; i < plan_.lines.size(); ++i) {
      const Line& line = plan_.lines[i].line;
      for (const PlanOperand& operand : effects(line).reads) last_read_[operand.buffer] = static_cast<int>(i);
      const CollectiveLine* call = std::get_if<CollectiveLine>(&line);
      if (call && call->spec.algorithm->symmetric == kInput)
        last_wanted_[{call->inputs[0].buffer, call->spec.group}] = static_cast<int>(i);
    }
    for (const PlanOutput& output : plan_.outputs) returned_[output.value.buffer] = true;
  }

  void emit(Line line) { plan_.lines.push_back({std::move(line), captured_}); }

  void decide(const CollectiveLine& call, std::string choice, std::string reason) {
    plan_.decisions.push_back(
        {decision_subject(call.spec.op, call.spec.origin), std::move(choice), std::move(reason)});
  }

  BufferId add_comm(const TensorType& type, const Group& group) {
    last_read_.push_back(-1);
    returned_.push_back(false);
    return add_buffer(plan_, BufferKind::comm, type, group);
  }

  void make_comm(BufferId id, const Group& group) {
    Buffer& buffer = plan_.buffers[id];
    buffer.kind = BufferKind::comm;
    buffer.group = group;
  }

  // --- the operand ---

  void realize_input(CollectiveLine& call) {
    const BufferId operand = call.inputs[0].buffer;
    const Buffer& buffer = plan_.buffer(operand);
    const auto epilogue_inputs = std::span(call.inputs).subspan(1);
    const bool read_again =
        last_read_[operand] > position_ || returned_[operand] ||
        std::ranges::find(epilogue_inputs, operand, &PlanOperand::buffer) != epilogue_inputs.end();
    const bool overwrites = call.spec.algorithm->clobbers_input;

    if (serves(buffer, call)) {
      if (!overwrites || (buffer.kind == BufferKind::comm && !read_again))
        decide(call, "comm buffer as it is",
               "the operand already lies in symmetric memory of " + owner_of(buffer, call));
      else
        identity_copy(call, buffer.index >= 0 ? "the algorithm overwrites its operand, which is the caller's"
                                              : "the algorithm overwrites its operand, which is read again");
    } else if (buffer.index >= 0) {
      input_copy(call);
    } else if (buffer.kind == BufferKind::fallback) {
      identity_copy(call, "the operand is the output of a call that allocates it itself");
    } else if (buffer.is_symmetric()) {
      identity_copy(call,
                    "the operand lies in symmetric memory of another group, " + buffer.group.to_string());
    } else if (returned_[operand]) {
      identity_copy(call, "the operand is also returned, and a comm buffer never is");
    } else if (overwrites && read_again) {
      identity_copy(call, "the algorithm overwrites its operand, which is read again");
    } else {
      make_comm(operand, home_group(call));
      decide(call, "comm buffer in place",
             "the plan allocates the operand, so what makes it writes into symmetric memory");
    }
    if (overwrites) keep_in_place(call);
  }

  // Whether peers of the call find an operand that lies in the buffer.
  static bool serves(const Buffer& buffer, const CollectiveLine& call) {
    return buffer.is_symmetric() && call.spec.algorithm->works_in_memory_of(buffer.group, call.spec.group);
  }
  static std::string owner_of(const Buffer& buffer, const CollectiveLine& call) {
    return buffer.group == call.spec.group ? "its group"
                                           : buffer.group.to_string() + ", whose ranks include its group's";
  }

  // Calls f with each group of which a later collective wants the same buffer.
  template <class F>
  void for_each_later_group(const CollectiveLine& call, F f) const {
    const BufferId operand = call.inputs[0].buffer;
    for (auto wanted = last_wanted_.lower_bound({operand, Group()});
         wanted != last_wanted_.end() && wanted->first.first == operand; ++wanted)
      if (wanted->second > position_) f(wanted->first.second);
  }
  // Another collective will want the same value in the same memory: what stands for it must not be
  // overwritten.
  bool wanted_later(const CollectiveLine& call) const {
    const Group& group = call.spec.group;
    bool wanted = false;
    for_each_later_group(call, [&](const Group& later) {
      const bool nested = later.size() != group.size() && (later.contains(group) || group.contains(later));
      wanted = wanted || later == group || nested;
    });
    return wanted;
  }
  // The group for whose memory the operand is made: the largest that wants it, if that serves this call, too.
  Group home_group(const CollectiveLine& call) const {
    Group home = call.spec.group;
    for_each_later_group(call, [&](const Group& later) {
      if (later.size() > home.size() && call.spec.algorithm->works_in_memory_of(later, call.spec.group))
        home = later;
    });
    return home;
  }

  // Path 2: one persistent buffer per input, and more only for groups that cannot share one; filled once,
  // right before its first use.
  void input_copy(CollectiveLine& call) {
    if (call.spec.algorithm->clobbers_input && wanted_later(call))
      return identity_copy(call, "the algorithm overwrites its operand, which another collective wants");
    const BufferId input = call.inputs[0].buffer;
    std::vector<BufferId>& homes = input_homes_[input];
    auto home = std::ranges::find_if(homes, [&](BufferId id) { return serves(plan_.buffer(id), call); });
    if (home != homes.end()) {
      decide(call, "comm buffer as it is", "the input's persistent comm buffer is filled already");
    } else {
      home = homes.insert(homes.end(), add_comm(plan_.buffer(input).type, home_group(call)));
      emit(InputCopyLine{whole(plan_, input), whole(plan_, *home), call.spec.origin});
      decide(call, "input copy",
             plan_.buffer(input).name +
                 " is the caller's: one persistent comm buffer, filled by one copy a call");
    }
    call.inputs[0].buffer = *home;
  }

  // Path 3. Copies of the same window are shared by calls whose peers find them, except those that the
  // algorithm overwrites.
  void identity_copy(CollectiveLine& call, std::string reason) {
    const bool shared = !call.spec.algorithm->clobbers_input || !wanted_later(call);
    std::vector<std::pair<PlanOperand, BufferId>>& copies = copies_[call.inputs[0].buffer];
    if (shared)
      for (const auto& [window, copy] : copies)
        // Also the same value of the buffer.
        if (window == call.inputs[0] && serves(plan_.buffer(copy), call)) {
          call.inputs[0] = whole(plan_, copy);
          return decide(call, "comm buffer as it is",
                        fmt::format("the operand has been copied for {} already",
                                    plan_.buffer(copy).group == call.spec.group
                                        ? "this group"
                                        : plan_.buffer(copy).group.to_string()));
        }
    const BufferId copy = add_comm({call.inputs[0].type.dtype, call.inputs[0].type.view.shape,
                                    plan_.buffer(call.inputs[0].buffer).type.place},
                                   home_group(call));
    KernelLine line = copy_line(call.inputs[0], whole(plan_, copy), call.spec.origin);
    line.identity_copy = true;
    emit(std::move(line));
    if (shared) copies.emplace_back(call.inputs[0], copy);
    call.inputs[0] = whole(plan_, copy);
    decide(call, "identity copy", std::move(reason));
  }

  // An algorithm that overwrites its operand may leave the result there: no second buffer, no copy. Not for
  // what is returned, nor with an epilogue, whose result would hold symmetric memory as long as it is read.
  void keep_in_place(CollectiveLine& call) {
    const BufferId output = call.outputs[0].buffer;
    if (!call.spec.epilogue.empty()) return;
    if (plan_.buffer(output).kind != BufferKind::regular || returned_[output]) return;
    if (call.outputs[0].type.view.shape != call.inputs[0].type.view.shape) return;
    call.outputs[0] = call.inputs[0];
    ++call.outputs[0].version;
    renamed_.emplace(output, call.outputs[0]);
    // Whoever wanted the output now wants what lies in its operand's buffer.
    const BufferId home = call.inputs[0].buffer;
    last_read_[home] = std::max(last_read_[home], last_read_[output]);
    for (auto wanted = last_wanted_.lower_bound({output, Group()});
         wanted != last_wanted_.end() && wanted->first.first == output; ++wanted) {
      int& last = last_wanted_.try_emplace({home, wanted->first.second}, -1).first->second;
      last = std::max(last, wanted->second);
    }
    decide(call, "in place", "the algorithm overwrites its operand, which is not read again");
  }

  // A value that was left in place is read where it lies; both windows are contiguous, so only the offset
  // moves.
  void rename_operands(Line& line) {
    if (renamed_.empty()) return;
    for (PlanOperand& operand : effects(line).reads) {
      auto found = renamed_.find(operand.buffer);
      if (found == renamed_.end()) continue;
      operand.buffer = found->second.buffer;
      operand.version = found->second.version;
      operand.type.view.offset += found->second.type.view.offset;
    }
  }

  // --- the result, for algorithms in which peers write it ---

  void realize_output(CollectiveLine call) {
    const Group group = call.spec.group;
    const PlanOperand output = call.outputs[0];
    if (!returned_[output.buffer]) {
      make_comm(output.buffer, group);
      decide(call, "comm buffer in place", "the plan allocates the result, which peers write");
      return emit(std::move(call));
    }
    call.outputs[0] = whole(plan_, add_comm(plan_.buffer(output.buffer).type, group));
    decide(call, "identity copy", "peers write the result, which is returned, and a comm buffer never is");
    KernelLine line = copy_line(call.outputs[0], output, call.spec.origin);
    line.identity_copy = true;
    emit(std::move(call));
    emit(std::move(line));
  }

  Plan plan_;
  int position_ = 0;  // of the line that is looked at, in the program before this pass
  bool captured_ = true;
  Store<BufferId, int> last_read_;  // position of the last reader
  Store<BufferId, bool> returned_;
  std::map<Wanted, int> last_wanted_;  // position of the last collective that wants it
  std::map<BufferId, std::vector<BufferId>> input_homes_;
  std::map<BufferId, std::vector<std::pair<PlanOperand, BufferId>>> copies_;
  std::map<BufferId, PlanOperand> renamed_;  // results that were left in their operand's buffer
};

}  // namespace

Plan realize(Plan plan) {
  return Realizer(std::move(plan)).run();
}

}  // namespace peri::planner
