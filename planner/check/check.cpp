// check_plan: the rules. A plan is executed symbolically over the bytes of its pools (machine.hpp), and what
// could go wrong is refused. It shares no code with the passes and believes only what the lines say: a read
// of the n-th value of `buf7` must find that value, and no other, in every byte it reads.
#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "planner/check/call.hpp"
#include "planner/check/machine.hpp"

namespace peri::planner {
namespace check {
namespace {

class Checker : public Machine {
 public:
  using Machine::Machine;

  void run() {
    for (; line_ < plan_.lines.size() && problem().empty(); ++line_) {
      const PlanLine& line = plan_.lines[line_];
      captured_ = line.captured && plan_.capture;
      std::visit([&](const auto& l) { check(l); }, line.line);
    }
    if (problem().empty()) check_end();
  }

 private:
  // --- storage ---

  void check(const AllocateLine& l) {
    const BufferKind kind = buffer(l.buffer).kind;
    expect(kind == BufferKind::regular || kind == BufferKind::comm, "is not for the plan to allocate",
           l.buffer);
    give(l.buffer);
  }
  void check(const ReuseLine& l) {
    const Buffer &to = buffer(l.buffer), &from = buffer(l.from);
    const bool planned = to.kind == BufferKind::regular || to.kind == BufferKind::comm;
    expect(planned && to.pool == from.pool && to.offset == from.offset && to.bytes() == from.bytes() &&
               to.type.dtype == from.type.dtype,
           "takes over storage of another kind", l.buffer);
    end(l.from);
    give(l.buffer);
  }
  void check(const FreeLine& l) {
    expect(!is_source(l.buffer), "the caller's tensor is freed", l.buffer);
    end(l.buffer);
    spoil(l.buffer);
  }

  // --- copies ---

  void check(const InputCopyLine& l) {
    const Buffer &from = buffer(l.from.buffer), &to = buffer(l.to.buffer);
    expect(is_source(l.from.buffer) && to.kind == BufferKind::comm && to.type == from.type &&
               l.from.type == l.to.type,
           "an input copy fills a comm buffer of the input's type");
    expect_device(l.from);
    read(l.from);
    write(l.to);
  }
  void check(const DeviceCopyLine& l) {
    expect(!captured_, "a copy between places is captured");
    expect(buffer(l.from.buffer).type.place != buffer(l.to.buffer).type.place &&
               l.from.type.dtype == l.to.type.dtype && l.from.type.view.shape == l.to.type.view.shape,
           "a device copy changes the place and nothing else");
    read(l.from);
    write(l.to);
  }

  // --- calls ---

  void check(const KernelLine& l) {
    expect_types(wrong_types(plan_, l));
    if (!problem().empty()) return;
    for (const PlanOperand& in : l.inputs) {
      expect_device(in);
      read(in);
    }
    for (size_t i = 0; i < l.outputs.size(); ++i) {
      const PlanOperand& out = l.outputs[i];
      expect_device(out);
      for (size_t k = 0; k < i; ++k)
        expect(!overlap(l.outputs[k], out), "is written twice by one call", out.buffer);
      for (size_t k = 0; k < l.inputs.size(); ++k)
        expect(!overlap(l.inputs[k], out) || may_overwrite(plan_, l, k, i), "is still read", out.buffer);
    }
    for (const PlanOperand& out : l.outputs) write(out);
  }

  void check(const CollectiveLine& l) {
    const CollectiveSpec& spec = l.spec;
    expect_types(wrong_group(spec.group, plan_.world));
    expect_types(wrong_types(plan_, l));
    expect(spec.group.index_of(plan_.world.rank) >= 0, not_in_group(spec.group, plan_.world.rank));
    if (!problem().empty()) return;
    for (const PlanOperand& in : l.inputs) {
      expect_device(in);
      read(in);
    }
    // A message synchronises no group. For any other call all have come, so all have read what was exposed.
    if (spec.info().sources != Sources::peer) synchronise(spec.group);
    for (const PlanOperand& out : l.outputs) {
      const bool fallback = buffer(out.buffer).kind == BufferKind::fallback;
      expect(fallback == l.is_fallback(), "only what a call allocates has a name besides its output's");
      if (fallback) give(out.buffer);
    }
    const AlgorithmInfo& row = *spec.algorithm;
    if (!l.inputs.empty()) {
      const PlanOperand& in = l.inputs[0];
      expect(!row.clobbers_input || !is_source(in.buffer), "the algorithm overwrites the caller's tensor",
             in.buffer);
      for (const PlanOperand& out : l.outputs) {
        const bool stays =
            &out == &l.outputs[0] && in.buffer == out.buffer && in.type == out.type && row.clobbers_input;
        expect(!overlap(in, out) || stays, "is written while peers read it", out.buffer);
      }
      if (row.clobbers_input) spoil(in);
    }
    check_epilogue(l);
    for (const PlanOperand& out : l.outputs) {
      expect_device(out);
      write(out);
    }
    if (row.symmetric == kNoOperand) return;
    const PlanOperand& shared = (row.symmetric == kInput ? l.inputs : l.outputs)[0];
    expect(row.works_in_memory_of(buffer(shared.buffer).group, spec.group),
           "is not in symmetric memory of the group", shared.buffer);
    if (row.end_barrier && !spec.end_barrier) expose(shared, spec.group);
  }

  // It works where the collective has left its result, the first output, once the collective has ended.
  void check_epilogue(const CollectiveLine& l) {
    if (l.spec.epilogue.empty()) return;
    for (size_t i = 0; i < l.outputs.size(); ++i)
      for (size_t k = 0; k < i; ++k)
        expect(!overlap(l.outputs[k], l.outputs[i]), "is written twice by one call", l.outputs[i].buffer);
    for (size_t i = 1; i < l.inputs.size(); ++i) {
      const PlanOperand& in = l.inputs[i];
      expect(!l.spec.algorithm->clobbers_input || !overlap(l.inputs[0], in),
             "is read by the epilogue, and the algorithm overwrites it", in.buffer);
      for (const PlanOperand& out : l.outputs) expect(!overlap(in, out), "is still read", out.buffer);
    }
    const AlgorithmInfo& row = *l.spec.algorithm;
    const bool shared = row.symmetric == kOutput || overlap(l.inputs[0], l.outputs[0]);
    expect(!shared || l.spec.end_barrier || !row.end_barrier,
           "is overwritten by the epilogue while peers may still be reading it", l.outputs[0].buffer);
  }

  void expect_types(const std::string& wrong) { expect(wrong.empty(), wrong); }
  void expect_device(const PlanOperand& o) {
    expect(!captured_ || buffer(o.buffer).type.place == Place::device, "work on host memory is captured",
           o.buffer);
  }

  // --- what the caller gets ---

  void check_end() {
    for (const auto& [value, mutated_input] : plan_.outputs) {
      const Buffer& b = buffer(value.buffer);
      State& s = state(value.buffer);
      read(value);
      expect(covers(value.type.view, Elements(numel(b.type.shape))), "an output is not all of it",
             value.buffer);
      const bool ours = b.kind == BufferKind::regular || b.kind == BufferKind::fallback;
      const bool whole = value.type.view == View::contiguous(b.type.shape);
      if (mutated_input < 0)
        expect(ours && s.storage == Storage::owned, "is returned, but not the plan's own", value.buffer);
      else
        expect(b.kind == BufferKind::input && b.index == mutated_input && s.version > 0 && whole,
               "is not written back", value.buffer);
      expect(!s.returned, "is returned twice", value.buffer);
      s.returned = true;
    }
    expect(!exposes(), "the call ends while peers may still be reading");
    for (BufferId id : plan_.buffers.ids()) {
      const bool persistent = is_source(id) || buffer(id).kind == BufferKind::comm;
      expect(state(id).storage != Storage::owned || state(id).returned || persistent,
             "is neither freed nor returned", id);
    }
  }

  bool captured_ = false;  // the line
};

}  // namespace
}  // namespace check

Status check_plan(const Plan& plan) {
  if (std::string wrong = check::wrong_tables(plan); !wrong.empty())
    return fail(Code::PlanInvalid, "the plan's tables: " + wrong);
  check::Checker checker(plan);
  checker.run();
  return checker.problem().empty() ? Status() : fail(Code::PlanInvalid, checker.problem());
}

}  // namespace peri::planner
