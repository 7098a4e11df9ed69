// The memory of a plan as check_plan runs it.
#include "planner/check/machine.hpp"

#include <fmt/format.h>

namespace peri::planner::check {

Machine::Machine(const Plan& plan)
    : plan_(plan), states_(plan.buffers.size()), owners_(plan.pools.size()), contents_(plan.pools.size()) {
  for (const std::vector<BufferId>* sources : {&plan.inputs, &plan.constants})
    for (BufferId id : *sources) {
      give(id);
      state(id).version = 0;
      contents(id).put(bytes(id), {id, 0});
    }
  for (const PlanOutput& output : plan.outputs)
    if (output.mutated_input >= 0) state(output.value.buffer).mutated = true;
}

void Machine::expect(bool holds, std::string_view rule, BufferId id) {
  if (holds || !problem_.empty()) return;
  const std::string name = id.valid() ? buffer(id).name + ": " : "";
  problem_ = fmt::format("line {} of the plan: {}{}", line_ + 1, name, rule);
}

bool Machine::is_source(BufferId id) const {
  return buffer(id).kind == BufferKind::input || buffer(id).kind == BufferKind::constant;
}

Interval Machine::bytes(BufferId id) const {
  return {buffer(id).offset, buffer(id).offset + buffer(id).bytes()};
}
// Of no window: nothing, for expect_window has said so.
Interval Machine::bytes(const PlanOperand& o) const {
  const auto found = extent(o.type.view, Elements(numel(buffer(o.buffer).type.shape)), o.type.dtype);
  const Bytes from = buffer(o.buffer).offset;
  return found ? Interval{from + found->begin, from + found->end} : Interval{};
}
bool Machine::overlap(const PlanOperand& a, const PlanOperand& b) const {
  return buffer(a.buffer).pool == buffer(b.buffer).pool && bytes(a).overlaps(bytes(b));
}

void Machine::give(BufferId id) {
  expect(state(id).storage == Storage::none, "gets storage twice", id);
  expect(!owners(id).first(bytes(id)).buffer.valid(), "gets storage that is another buffer's", id);
  owners(id).put(bytes(id), {id});
  state(id).storage = Storage::owned;
}

void Machine::end(BufferId id) {
  expect(state(id).storage == Storage::owned, "owns no storage", id);
  owners(id).clear(bytes(id));
  state(id).storage = Storage::gone;
}

void Machine::expect_window(const PlanOperand& o) {
  const TensorType& type = buffer(o.buffer).type;
  expect(o.type.dtype == type.dtype, "is used as another dtype", o.buffer);
  expect(extent(o.type.view, Elements(numel(type.shape)), type.dtype).has_value(),
         "a window reaches outside of it", o.buffer);
}

void Machine::read(const PlanOperand& o) {
  expect_window(o);
  const ValueId there = contents(o.buffer).first(bytes(o));
  if (there.buffer == o.buffer && there.version != o.version)
    expect(false, fmt::format("value {} is read, and value {} lies there", o.version, there.version),
           o.buffer);
  expect(contents(o.buffer).hold(bytes(o), {o.buffer, o.version}), "is read, but not there", o.buffer);
}

void Machine::write(const PlanOperand& o) {
  expect_window(o);
  State& s = state(o.buffer);
  expect(s.storage == Storage::owned, "owns no storage", o.buffer);
  for (const Exposed& e : exposed_)
    expect(e.pool != buffer(o.buffer).pool || !e.bytes.overlaps(bytes(o)),
           "is written while peers may still be reading it", o.buffer);
  expect(!is_source(o.buffer) || s.mutated, "is the caller's, and is written", o.buffer);
  const bool fills = o.type.view.is_contiguous() && bytes(o).contains(bytes(o.buffer));
  expect(s.version >= 0 || fills, "is not filled by its first write", o.buffer);
  if (o.version != s.version + 1)
    expect(false, fmt::format("value {} is made after value {}", o.version, s.version), o.buffer);
  // What a partial write leaves alone belongs to the new value too.
  if (s.version >= 0)
    contents(o.buffer).replace(bytes(o.buffer), {o.buffer, s.version}, {o.buffer, o.version});
  s.version = o.version;
  contents(o.buffer).put(bytes(o), {o.buffer, o.version});
}

void Machine::expose(const PlanOperand& o, const Group& group) {
  exposed_.push_back({buffer(o.buffer).pool, bytes(o), &group});
}

void Machine::synchronise(const Group& group) {
  std::erase_if(exposed_, [&](const Exposed& e) { return *e.group == group; });
}

}  // namespace peri::planner::check
