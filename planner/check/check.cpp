// check_plan: executes a plan symbolically over its storages and refuses what could go wrong. It shares no
// code with the passes and believes only the names: a read of `buf7` finds what was last written to `buf7`.
#include <fmt/format.h>

#include "planner/check/check_line.hpp"

namespace peri::planner {
namespace {

struct Storage {
  BufferId owner, holds;  // whose storage it is; whose value lies in it
  bool freed = false, returned = false;
};

class Checker {
 public:
  explicit Checker(const Plan& plan)
      : plan_(plan), storage_of_(plan.buffers.size(), 0), written_(plan.buffers.size()), mutated_(written_) {
    storages_.push_back({{}, {}, true});  // nowhere: where a buffer lies before it has storage
  }

  Status run() {
    for (const auto* sources : {&plan_.inputs, &plan_.constants})
      for (BufferId id : *sources) place(id, id);
    for (const PlanOutput& output : plan_.outputs)
      mutated_[at(output.value.buffer)] = output.mutated_input >= 0;
    for (; line_ < plan_.lines.size() && problem_.empty(); ++line_) {
      if (Status alone = check_line(plan_, line_); !alone) expect(false, alone.error().message);
      if (problem_.empty()) std::visit([&](const auto& line) { check(line); }, plan_.lines[line_].line);
    }
    if (problem_.empty()) check_end();
    return problem_.empty() ? Status() : fail(Code::PlanInvalid, problem_);
  }

 private:
  static size_t at(BufferId id) { return static_cast<size_t>(id.index); }
  BufferKind kind(BufferId id) const { return plan_.buffer(id).kind; }
  Storage& storage(BufferId id) { return storages_[storage_of_[at(id)]]; }
  bool shared(BufferId a, BufferId b) const { return storage_of_[at(a)] == storage_of_[at(b)]; }
  void expect(bool holds, std::string_view rule, BufferId id = {}) {
    if (holds || !problem_.empty()) return;
    const std::string name = id.valid() ? plan_.buffer(id).name + ": " : "";
    problem_ = fmt::format("line {} of the plan: {}{}", line_ + 1, name, rule);
  }

  void place(BufferId id, BufferId holds) {
    expect(storage_of_[at(id)] == 0, "gets storage twice", id);
    storage_of_[at(id)] = storages_.size();
    storages_.push_back({id, holds});
  }
  void expect_own(BufferId id) {
    expect(storage(id).owner == id && !storage(id).freed, "owns no storage", id);
  }
  void read(BufferId id) {
    expect(!storage(id).freed && storage(id).holds == id, "is read, but not there", id);
  }
  void write(BufferId id, const View& view) {
    const bool fills = view.is_contiguous() && numel(view.shape) == numel(plan_.buffer(id).type.shape);
    expect_own(id);
    expect(!exposed_.contains(storage_of_[at(id)]), "is written while peers may still be reading it", id);
    expect(!is_source(plan_.buffer(id)) || mutated_[at(id)], "is the caller's, and is written", id);
    expect(fills || storage(id).holds == id, "is not filled by its first write", id);
    storage(id).holds = id;
    written_[at(id)] = true;
  }

  void check(const AllocateLine& line) { place(line.buffer, BufferId()); }
  void check(const ReuseLine& line) {
    expect_own(line.from);
    expect(storage_of_[at(line.buffer)] == 0, "gets storage twice", line.buffer);
    storage_of_[at(line.buffer)] = storage_of_[at(line.from)];
    storage(line.buffer).owner = line.buffer;
  }
  void check(const FreeLine& line) {
    expect_own(line.buffer);
    storage(line.buffer).freed = true;
  }
  void check(const InputCopyLine& line) {
    expect(!written_[at(line.to.buffer)], "is filled twice", line.to.buffer);
    read(line.from.buffer);
    write(line.to.buffer, line.to.type.view);
  }
  void check(const DeviceCopyLine& line) {
    read(line.from.buffer);
    write(line.to.buffer, line.to.type.view);
  }
  void check(const KernelLine& line) {
    for (const PlanOperand& in : line.inputs) read(in.buffer);
    for (size_t i = 0; i < line.outputs.size(); ++i) {
      const BufferId out = line.outputs[i].buffer;
      for (size_t k = 0; k < line.inputs.size(); ++k)
        expect(!shared(line.inputs[k].buffer, out) || may_overwrite(plan_, line, k, i), "is still read", out);
    }
    for (const PlanOperand& out : line.outputs) write(out.buffer, out.type.view);
  }
  void check(const CollectiveLine& line) {
    const AlgorithmInfo& row = *find_algorithm(line.op, line.algorithm);
    const BufferId in = line.input.buffer, out = line.output.buffer;
    if (line.op == Op::recv) return write(out, line.output.type.view);
    read(in);
    if (line.op == Op::send) return;
    const Group& group = line.attributes.get<Group>("group");  // all have come, so all have read
    std::erase_if(exposed_, [&](const auto& entry) { return *entry.second == group; });
    if (line.op == Op::barrier) return;
    if (kind(out) == BufferKind::fallback) place(out, BufferId());
    const bool in_place = line.input == line.output && row.clobbers_input;
    expect(!shared(in, out) || in_place, "is written while peers read it", out);
    write(out, line.output.type.view);
    if (row.clobbers_input && !in_place) storage(in).holds = BufferId();
    if (row.symmetric != kNoOperand && row.end_barrier && !line.end_barrier)
      exposed_.emplace(storage_of_[at(row.symmetric == kInput ? in : out)], &group);
  }

  void check_end() {
    for (const auto& [value, mutated_input] : plan_.outputs) {
      const BufferId id = value.buffer;
      const bool ours = kind(id) == BufferKind::regular || kind(id) == BufferKind::fallback;
      read(id);
      if (mutated_input >= 0)
        expect(plan_.buffer(id).index == mutated_input && written_[at(id)], "is not written back", id);
      else
        expect(ours && !storage(id).returned, "is returned, but not the plan's own, or returned twice", id);
      storage(id).returned = true;
    }
    expect(exposed_.empty(), "the call ends while peers may still be reading");
    for (size_t i = 1; i < storages_.size(); ++i) {
      const BufferId id = storages_[i].owner;
      const bool persistent = is_source(plan_.buffer(id)) || kind(id) == BufferKind::comm;
      expect(storages_[i].freed || storages_[i].returned || persistent, "is neither freed nor returned", id);
    }
  }

  const Plan& plan_;
  std::vector<size_t> storage_of_;  // by buffer; 0: nowhere
  std::vector<bool> written_, mutated_;
  std::vector<Storage> storages_;
  std::map<size_t, const Group*> exposed_;  // storages that peers of a group may still be reading
  size_t line_ = 0;
  std::string problem_;  // the first
};

}  // namespace

Status check_plan(const Plan& plan) {
  return Checker(plan).run();
}

}  // namespace peri::planner
