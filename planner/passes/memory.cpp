// Memory planning by reuse: when a buffer is dead, the next one with the same key takes over its storage
// (S1 and S8 of SYSTEMS.md). Gives every virtual buffer storage and its final name, and frees what is not
// used again.
#include <climits>
#include <tuple>

#include "planner/lines.hpp"
#include "planner/passes/in_place.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {
namespace {

class MemoryPlanner {
 public:
  MemoryPlanner(Plan plan, Planning planning) : plan_(std::move(plan)), planning_(planning) {}

  Plan run() {
    index();
    lines_ = std::move(plan_.lines);
    plan_.lines.clear();
    plan_.lines.reserve(3 * lines_.size());  // most need storage, and end one
    buffers_.reserve(plan_.buffers.size());
    for (const std::vector<BufferId>* sources : {&plan_.inputs, &plan_.constants})
      for (BufferId id : *sources) add_pool(rename(id, plan_.buffer(id).name));
    allocate_header();
    for (position_ = 0; position_ < static_cast<int>(lines_.size()); ++position_) plan_line();
    return finish();
  }

 private:
  // Buffers share storage only if all of this agrees: kind, place, dtype, bytes, and the group of a comm
  // buffer (0: none).
  using Key = std::tuple<BufferKind, Place, DType, Bytes, int>;
  // A dead buffer whose storage waits for the next with its key, and its FreeLine, which is taken back then.
  struct Dead {
    BufferId buffer;  // renamed
    size_t free_line;
  };
  static constexpr int kForever = INT_MAX;

  void index() {
    last_use_.assign(plan_.buffers.size(), -1);
    new_id_.assign(plan_.buffers.size(), BufferId());
    for (size_t i = 0; i < plan_.lines.size(); ++i) {
      const LineEffects line = effects(std::as_const(plan_.lines[i].line));
      for (const PlanOperand& operand : line.reads) last_use_[operand.buffer] = static_cast<int>(i);
      for (const PlanOperand& operand : line.writes) last_use_[operand.buffer] = static_cast<int>(i);
    }
    for (const PlanOutput& output : plan_.outputs) last_use_[output.value.buffer] = kForever;
    for (const std::vector<BufferId>* sources : {&plan_.inputs, &plan_.constants})
      for (BufferId id : *sources) last_use_[id] = kForever;
    for (const PlanLine& line : plan_.lines)
      if (const InputCopyLine* copy = std::get_if<InputCopyLine>(&line.line))
        last_use_[copy->to.buffer] = kForever;
  }

  // Gives `id` its final place in the table; the old table stays until the end.
  BufferId rename(BufferId id, std::string name) {
    new_id_[id] = buffers_.push_back(plan_.buffer(id));
    buffers_.back().name = std::move(name);
    return new_id_[id];
  }
  BufferId add_pool(BufferId renamed) {
    Buffer& buffer = buffers_[renamed];
    buffer.pool = plan_.pools.push_back({buffer.kind, buffer.type.place, buffer.group, buffer.bytes()});
    return renamed;
  }
  void allocate(BufferId renamed) { emit(AllocateLine{add_pool(renamed)}); }
  void reuse(BufferId renamed, BufferId from) {
    buffers_[renamed].pool = buffers_[from].pool;
    emit(ReuseLine{renamed, from});
  }
  std::string next_name() { return "buf" + std::to_string(names_++); }

  void emit(Line line) {
    plan_.lines.push_back({std::move(line), captured_});
    dropped_.push_back(false);
  }

  // The persistent buffers of input copies: once, before all else, and never shared.
  void allocate_header() {
    captured_ = lines_.empty() ? plan_.capture : lines_[0].captured;
    for (const PlanLine& line : lines_)
      if (const InputCopyLine* copy = std::get_if<InputCopyLine>(&line.line))
        allocate(rename(copy->to.buffer, next_name()));
  }

  void plan_line() {
    Line line = std::move(lines_[position_].line);
    captured_ = lines_[position_].captured;
    const BasicEffects<PlanOperand> touched = effects(line);
    for (const PlanOperand& operand : touched.writes)
      if (!new_id_[operand.buffer].valid()) give_storage(operand.buffer, line);
    std::vector<BufferId> dying;
    for (std::span<PlanOperand> operands : {touched.reads, touched.writes})
      for (const PlanOperand& operand : operands) {
        if (last_use_[operand.buffer] != position_) continue;
        last_use_[operand.buffer] = -1;  // once
        dying.push_back(operand.buffer);
      }
    for_each_operand(line, [&](PlanOperand& operand) { operand.buffer = new_id_[operand.buffer]; });
    emit(std::move(line));
    for (BufferId id : dying) release(id);
  }

  void give_storage(BufferId id, Line& line) {
    if (plan_.buffer(id).kind == BufferKind::fallback) {  // the call makes it: its result has a name too
      std::get<CollectiveLine>(line).call_name = next_name();
      add_pool(rename(id, next_name()));
      return;
    }
    const BufferId renamed = rename(id, next_name());
    if (planning_ == Planning::separate) return allocate(renamed);
    if (const BufferId operand = dying_operand(id, line); operand.valid()) {
      last_use_[operand] = -1;
      return reuse(renamed, new_id_[operand]);
    }
    std::vector<Dead>& dead = dead_[key(plan_.buffer(id))];
    if (dead.empty()) return allocate(renamed);
    dropped_[dead.back().free_line] = true;
    reuse(renamed, dead.back().buffer);
    dead.pop_back();
  }

  // An operand that dies here and in whose storage the result may be made, or none. Comm buffers are left
  // out: peers may see them.
  BufferId dying_operand(BufferId id, const Line& line) const {
    const KernelLine* kernel = std::get_if<KernelLine>(&line);
    if (!kernel || plan_.buffer(id).kind != BufferKind::regular) return BufferId();
    for (const PlanOperand& in : kernel->inputs) {
      const Buffer& buffer = plan_.buffer(in.buffer);
      if (last_use_[in.buffer] == position_ && buffer.kind == BufferKind::regular && is_whole(plan_, in) &&
          buffer.type == plan_.buffer(id).type && may_work_in_place(*kernel, in.buffer, id))
        return in.buffer;
    }
    return BufferId();
  }

  void release(BufferId id) {
    const Buffer& buffer = plan_.buffer(id);
    if (buffer.kind != BufferKind::fallback) dead_[key(buffer)].push_back({new_id_[id], plan_.lines.size()});
    emit(FreeLine{new_id_[id]});
  }

  Key key(const Buffer& buffer) {
    const int number =
        buffer.is_symmetric()
            ? groups_.try_emplace(buffer.group, static_cast<int>(groups_.size()) + 1).first->second
            : 0;
    return {buffer.kind, buffer.type.place, buffer.type.dtype, buffer.bytes(), number};
  }

  Plan finish() {
    size_t kept = 0;
    for (size_t i = 0; i < plan_.lines.size(); ++i) {
      if (dropped_[i]) continue;
      if (kept != i) plan_.lines[kept] = std::move(plan_.lines[i]);
      ++kept;
    }
    plan_.lines.erase(plan_.lines.begin() + static_cast<ptrdiff_t>(kept), plan_.lines.end());
    for (PlanOutput& output : plan_.outputs) output.value.buffer = new_id_[output.value.buffer];
    for (std::vector<BufferId>* sources : {&plan_.inputs, &plan_.constants})
      for (BufferId& id : *sources) id = new_id_[id];
    plan_.buffers = std::move(buffers_);
    plan_.sharded.clear();
    return std::move(plan_);
  }

  Plan plan_;  // `lines` are the new ones, `buffers` the old ones until the end
  Planning planning_;
  std::vector<PlanLine> lines_;  // the program before this pass
  Store<BufferId, Buffer> buffers_;
  Store<BufferId, BufferId> new_id_;  // by old buffer; not valid: no storage yet
  Store<BufferId, int> last_use_;     // by old buffer: position of the line after which it is dead
  std::vector<bool> dropped_;         // by new line: a FreeLine that was taken back
  std::map<Key, std::vector<Dead>> dead_;
  std::map<Group, int> groups_;
  int position_ = 0;
  bool captured_ = true;  // of the line that is planned
  int names_ = 0;
};

}  // namespace

Plan plan_memory(Plan plan, Planning planning) {
  return MemoryPlanner(std::move(plan), planning).run();
}

}  // namespace peri::planner
