// See storage.hpp.
#include "cudagraph/storage.hpp"

#include <algorithm>

#include "planner/lines.hpp"

namespace peri::cudagraph {
namespace {

// Of buffers in shared memory: what vector loads and cache lines like.
constexpr Bytes kAlignment(256);

}  // namespace

PlanStorage::PlanStorage(const planner::Plan& plan, const std::vector<Partition>& partitions,
                         SharedMemory& memory)
    : plan_(plan), memory_(memory), slot_of_(plan.buffers.size()) {
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

// One after another: the planner has decided already which buffers share storage.
void PlanStorage::lay_out() {
  for (BufferId id : plan_.buffers.ids()) {
    const planner::Buffer& buffer = plan_.buffer(id);
    const bool is_callers =
        buffer.kind == planner::BufferKind::input || buffer.kind == planner::BufferKind::constant;
    if (is_callers || !has_slot(id)) continue;
    Slot& s = slot(id);
    if (s.share >= 0 || s.per_call || s.is_output) continue;
    const bool is_comm = buffer.kind == planner::BufferKind::comm;
    const SharedMemory::Kind kind{buffer.type.place, is_comm ? buffer.group : Group{}};
    auto part = std::ranges::find(parts_, kind, &Part::kind);
    if (part == parts_.end()) part = parts_.insert(part, {.kind = kind, .bytes = {}});
    s.share = static_cast<int>(part - parts_.begin());
    s.offset = part->bytes;
    part->bytes += rounded_up(std::max(buffer.bytes(), Bytes(1)), kAlignment);
  }
}

Status PlanStorage::allocate() {
  lay_out();
  for (Part& part : parts_) {
    shares_.push_back(PERI_TRY(memory_.share(part.kind, part.bytes)));
    if (!memory_.backend().follows_blocks() || part.kind.is_symmetric()) continue;
    part.block = static_cast<int>(blocks_.size());
    blocks_.push_back(nullptr);
  }
  PERI_TRY(bind_shared());
  return {};
}

Result<bool> PlanStorage::bind_shared() {
  for (const SharedMemory::Share& share : shares_) PERI_TRY(memory_.ensure(share));
  bool moved = false;
  for (size_t i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    moved = moved || (part.block < 0 && part.version != shares_[i].version());
    part.version = shares_[i].version();
    if (part.block >= 0) blocks_[part.block] = shares_[i].data();
  }
  for (Slot& s : slots_)
    if (s.share >= 0) s.data = shares_[s.share].data() + s.offset.count();
  version_ = memory_.version();
  return moved;
}

Status PlanStorage::begin(BufferId id) {
  Slot& s = slot(id);
  if (!s.per_call) return {};
  const planner::Buffer& buffer = plan_.buffer(id);
  s.memory = PERI_TRY(memory_.backend().allocate(buffer.bytes(), buffer.type.place));
  s.data = s.memory->data();
  return {};
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
  const int block = s.share < 0 ? s.block : parts_[s.share].block;
  return {s.data + offset, {type.dtype, {type.view.shape, type.view.strides, {}}}, block, s.offset + offset};
}

kernels::Operand PlanStorage::whole(BufferId id) const {
  return operand(planner::whole(plan_, id));
}

}  // namespace peri::cudagraph
