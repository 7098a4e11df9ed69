// The check after every pass: one walk over the lines, with the last value of each buffer and what has
// storage so far.
#include "planner/check/stage.hpp"

#include <fmt/format.h>

#include "planner/lines.hpp"

namespace peri::planner {
namespace {

class StageCheck {
 public:
  StageCheck(const Plan& plan, Buffers buffers)
      : plan_(plan), value_(plan.buffers.size(), -1), stored_(plan.buffers.size()) {
    for (BufferId id : plan.buffers.ids()) {
      const bool source = plan.buffer(id).index >= 0;
      if (source) value_[id] = 0;
      stored_[id] = source || buffers == Buffers::virtual_only;
    }
  }

  // What is wrong; empty if nothing is.
  std::string run() {
    for (size_t i = 0; i < plan_.lines.size(); ++i)
      if (std::string wrong = walk(plan_.lines[i].line); !wrong.empty())
        return fmt::format("line {} {}", i + 1, wrong);
    for (const PlanOutput& output : plan_.outputs)
      if (std::string wrong = read(output.value); !wrong.empty()) return "an output " + wrong;
    return {};
  }

 private:
  std::string walk(const Line& line) {
    const LineEffects touched = effects(line);
    for (BufferId id : touched.gives) {
      if (!in_table(id)) return "gives storage to a buffer that is not in the table";
      stored_[id] = true;
    }
    for (const PlanOperand& operand : touched.reads)
      if (std::string wrong = read(operand); !wrong.empty()) return wrong;
    for (const PlanOperand& operand : touched.writes) {
      if (std::string wrong = window(operand, "writes"); !wrong.empty()) return wrong;
      if (!stored_[operand.buffer]) return "writes " + name(operand) + ", which has no storage";
      if (operand.version != value_[operand.buffer] + 1)
        return fmt::format("makes value {} of {} after value {}", operand.version, name(operand),
                           value_[operand.buffer]);
      value_[operand.buffer] = operand.version;
    }
    return {};
  }

  std::string read(const PlanOperand& operand) const {
    if (std::string wrong = window(operand, "reads"); !wrong.empty()) return wrong;
    const int32_t there = value_[operand.buffer];
    if (there < operand.version) return "reads " + name(operand) + " before anything wrote it";
    return there == operand.version ? "" : "reads " + name(operand) + " after something overwrote it";
  }

  std::string window(const PlanOperand& operand, const char* verb) const {
    if (!in_table(operand.buffer)) return fmt::format("{} a buffer that is not in the table", verb);
    const View& view = operand.type.view;
    int64_t last = view.offset.count();
    for (int i = 0; i < view.shape.rank(); ++i) {
      if (view.shape[i] == 0) return {};
      last += (view.shape[i] - 1) * view.strides[i];
    }
    const bool inside = view.offset >= Elements() && last < numel(plan_.buffer(operand.buffer).type.shape);
    return inside ? "" : fmt::format("{} outside {}", verb, name(operand));
  }

  bool in_table(BufferId id) const { return plan_.buffers.contains(id); }
  const std::string& name(const PlanOperand& operand) const { return plan_.buffer(operand.buffer).name; }

  const Plan& plan_;
  // The number of the buffer's last value (-1: none yet), and whether it has storage.
  Store<BufferId, int32_t> value_;
  Store<BufferId, bool> stored_;
};

}  // namespace

Status check_stage(const Plan& plan, const std::string& pass, Buffers buffers) {
  const std::string wrong = StageCheck(plan, buffers).run();
  return wrong.empty() ? Status() : fail(Code::PlanInvalid, fmt::format("pass {}: {}", pass, wrong));
}

}  // namespace peri::planner
