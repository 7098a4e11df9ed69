// Which memory each buffer of a plan has: a part of the memory that all plans share, what every call
// allocates anew, or the caller's. Buffers that share storage share a slot.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/error.hpp"
#include "cudagraph/partition.hpp"
#include "cudagraph/shared_memory.hpp"
#include "kernels/backend.hpp"
#include "planner/plan.hpp"

namespace peri::cudagraph {

class PlanStorage {
 public:
  // Plan and memory outlive it.
  PlanStorage(const planner::Plan& plan, const std::vector<Partition>& partitions, SharedMemory& memory);
  // Takes the plan's part of the shared memory: all but the outputs (outputs.hpp) and what each call
  // allocates. Collective over the plan's comm groups.
  Status allocate();
  // Whether shared memory has been replaced since `bind_shared`.
  bool is_outdated() const { return version_ != memory_.version(); }
  // Binds the buffers to the shared memory as it is now. True if one has moved whose address recordings hold.
  Result<bool> bind_shared();

  // The address of the buffer's first element; nullptr while it has none.
  std::byte* data(BufferId id) const { return has_slot(id) ? slot(id).data : nullptr; }
  kernels::Operand operand(const planner::PlanOperand& window) const;
  kernels::Operand whole(BufferId id) const;

  // Whether recordings hold its address, or follow it.
  bool is_recorded(BufferId id) const { return slot(id).recorded; }
  // Whether every call allocates it: its lines are all in uncaptured partitions, and nothing was hoisted.
  bool is_per_call(BufferId id) const { return slot(id).per_call; }
  bool share_a_slot(BufferId a, BufferId b) const { return &slot(a) == &slot(b); }

  // From here on the buffer lies there: in memory that somebody else keeps as long as the buffer is used.
  void bind(BufferId id, std::byte* data) {
    Slot& s = slot(id);
    s.data = data;
    if (s.block >= 0) blocks_[s.block] = data;
  }
  // Recordings follow the buffer where it is bound to (Recording::move).
  void follow(BufferId id);
  bool is_followed(BufferId id) const { return slot(id).block >= 0; }
  // Where those buffers lie now, by Operand::block.
  std::span<std::byte* const> blocks() const { return blocks_; }
  // What a call has allocated.
  const std::shared_ptr<kernels::Storage>& memory(BufferId id) const { return slot(id).memory; }

  // For buffers that every call allocates; the others are left alone.
  Status begin(BufferId id);
  void end(BufferId id);

 private:
  struct Slot {
    std::byte* data = nullptr;
    // What a call has allocated.
    std::shared_ptr<kernels::Storage> memory;
    // Operand::block, if recordings follow it.
    int block = -1;
    // Which of the shares it lies in, and where; -1: none.
    int share = -1;
    Bytes offset;
    bool per_call = false;
    bool recorded = false;
    bool is_output = false;
  };

  using SlotId = Id<Slot>;

  bool has_slot(BufferId id) const { return slot_of_[id].valid(); }
  const Slot& slot(BufferId id) const { return slots_[slot_of_[id]]; }
  Slot& slot(BufferId id) { return slots_[slot_of_[id]]; }
  void add_slot(BufferId id);
  void mark_slots(const std::vector<Partition>& partitions);
  void lay_out();

  // A part of the shared memory, all of one kind.
  struct Part {
    SharedMemory::Kind kind;
    Bytes bytes;
    // Of the block to which it is bound.
    uint64_t version = 0;
    int block = -1;
  };

  const planner::Plan& plan_;
  SharedMemory& memory_;
  uint64_t version_ = 0;
  // The same by number.
  std::vector<Part> parts_;
  std::vector<SharedMemory::Share> shares_;
  Store<SlotId, Slot> slots_;
  // Not valid: none.
  Store<BufferId, SlotId> slot_of_;
  std::vector<std::byte*> blocks_;
};

}  // namespace peri::cudagraph
