// See storage.hpp.
#include "cudagraph/storage.hpp"

#include "planner/lines.hpp"

namespace peri::cudagraph {

PlanStorage::PlanStorage(const planner::Plan& plan, const std::vector<Partition>& partitions,
                         kernels::Backend& backend)
    : plan_(plan), backend_(backend), slot_of_(plan.buffers.size()) {
  for (BufferId id : plan.inputs) add_slot(id);
  for (BufferId id : plan.constants) add_slot(id);
  for (const planner::PlanLine& line : plan.lines) {
    if (const auto* reuse = std::get_if<planner::ReuseLine>(&line.line))
      slot_of_[reuse->buffer] = slot_of_[reuse->from];
    else
      for (BufferId id : effects(line.line).gives) add_slot(id);
  }
  mark_slots(partitions);
  for (const planner::PlanOutput& o : plan.outputs) slot(o.value.buffer).is_output = true;
}

void PlanStorage::add_slot(BufferId id) {
  slot_of_[id] = slots_.push_back({});
}

// Only what lives entirely inside uncaptured partitions and was not hoisted is allocated per call: a
// recording must never hold an address that changes.
void PlanStorage::mark_slots(const std::vector<Partition>& partitions) {
  for (const Partition& part : partitions) {
    for (int i = part.first; i < part.last; ++i) {
      const planner::Line& line = plan_.lines[i].line;
      const auto* a = std::get_if<planner::AllocateLine>(&line);
      if (a && !part.captured && plan_.buffer(a->buffer).kind == planner::BufferKind::regular)
        slot(a->buffer).per_call = true;
      if (!part.captured) continue;
      const planner::LineEffects touched = effects(line);
      for (const planner::PlanOperand& o : touched.reads) slot(o.buffer).recorded = true;
      for (const planner::PlanOperand& o : touched.writes) slot(o.buffer).recorded = true;
    }
    for (BufferId id : part.signature.hoisted_allocations) slot(id).recorded = true;
  }
  for (Slot& s : slots_) s.per_call = s.per_call && !s.recorded;
}

Status PlanStorage::allocate() {
  for (BufferId id : plan_.buffers.ids()) {
    const planner::BufferKind kind = plan_.buffer(id).kind;
    const bool is_callers = kind == planner::BufferKind::input || kind == planner::BufferKind::constant;
    if (is_callers || !has_slot(id)) continue;
    const Slot& s = slot(id);
    if (!s.memory && !s.per_call && !s.is_output) PERI_TRY(allocate(id));
  }
  return {};
}

Status PlanStorage::allocate(BufferId id) {
  const planner::Buffer& buffer = plan_.buffer(id);
  Slot& s = slot(id);
  if (buffer.kind == planner::BufferKind::comm)
    s.memory = PERI_TRY(backend_.allocate_symmetric(buffer.bytes(), buffer.group));
  else
    s.memory = PERI_TRY(backend_.allocate(buffer.bytes(), buffer.type.place));
  s.data = s.memory->data();
  return {};
}

Status PlanStorage::begin(BufferId id) {
  return slot(id).per_call ? allocate(id) : Status{};
}

void PlanStorage::end(BufferId id) {
  Slot& s = slot(id);
  if (!s.per_call) return;
  s.memory.reset();
  s.data = nullptr;
}

void PlanStorage::follow(BufferId id) {
  Slot& s = slot(id);
  if (s.block >= 0) return;
  s.block = static_cast<int>(blocks_.size());
  blocks_.push_back(s.data);
}

kernels::Operand PlanStorage::operand(const planner::PlanOperand& window) const {
  const OperandType& type = window.type;
  const Slot& s = slot(window.buffer);
  const Bytes offset = bytes_of(type.view.offset, type.dtype);
  return {s.data + offset, {type.dtype, {type.view.shape, type.view.strides, {}}}, s.block, offset};
}

kernels::Operand PlanStorage::whole(BufferId id) const {
  return operand(planner::whole(plan_, id));
}

}  // namespace peri::cudagraph
