// Collectives of the host backend: one call is prepared (checked, addresses and functions fixed) and then run
// any number of times. The algorithms are in collective_staged.cpp (ordinary memory, through the group's
// workspace) and collective_direct.cpp (symmetric memory, read and written in place).
#pragma once

#include <map>
#include <memory>
#include <span>
#include <tuple>
#include <utility>

#include "kernels/collectives/collective_call.hpp"
#include "kernels/host/collectives/collective_reduce.hpp"
#include "kernels/host/symmetric/signal.hpp"
#include "kernels/host/symmetric/symmetric_memory.hpp"
#include "kernels/job/group_table.hpp"
#include "kernels/symmetric/symmetric_blocks.hpp"

namespace peri::kernels::host {

// Something that can be recorded and run again. Nothing is allocated in `run` after its first time.
class HostCall {
 public:
  virtual ~HostCall() = default;
  virtual Status run() = 0;
  // From here on this operand (inputs first, then outputs) lies there. It is ordinary memory.
  virtual void move_operand(size_t operand, std::byte* data) = 0;
};

// What a rank shares with its peers: the groups' contexts and the pairs' channels, made when first used.
class Communicator {
 public:
  Communicator(job::Control& control, std::shared_ptr<SymmetricBlocks> blocks)
      : control_(control), blocks_(std::move(blocks)) {}
  job::Control& control() const { return control_; }
  const std::shared_ptr<SymmetricBlocks>& blocks() const { return blocks_; }
  // InvalidArgument if this rank is no member, or if the members are not distinct ranks of the job.
  Result<GroupContext*> context(const Group& group);
  Result<Channel*> channel(const Group& group, int from, int to, const job::Operation& operation);
  // Collective over the world: begins the job's next generation. Channels are opened anew when next needed.
  Status recover();

 private:
  job::Control& control_;
  std::shared_ptr<SymmetricBlocks> blocks_;
  job::GroupTable<GroupContext> contexts_;
  std::map<std::tuple<Group, int, int>, std::unique_ptr<Channel>> channels_;
};

// Checks the operands against the op's shape rule and the algorithm's row. The call refers to the
// communicator.
Result<std::unique_ptr<HostCall>> prepare_collective(Communicator& communicator, const CollectiveSpec& spec,
                                                     std::span<const Operand> inputs,
                                                     std::span<const Operand> outputs);

// Copies positions [at, at + length) of a part from one window to another.
void copy_window(std::byte* to, const Window& to_window, const std::byte* from, const Window& from_window,
                 int64_t at, int64_t length);

// What the algorithms are made from.
struct HostCollective : CheckedCollective {
  Communicator& communicator;
  GroupContext& context;
  ReduceArrays reduce;  // of ops that reduce; else nullptr

  void move_operand(size_t operand, std::byte* data) {
    if (std::cmp_less(operand, info().inputs))
      input = data;
    else
      output = data;
  }

  // Meets the other members; `phase` tells the synchronisations of one call apart.
  Status synchronize(uint64_t phase) const { return context.synchronize(signature + phase, operation); }
};

std::unique_ptr<HostCall> staged_collective(HostCollective checked);
std::unique_ptr<HostCall> direct_collective(HostCollective checked);

}  // namespace peri::kernels::host
