// Collectives of the host backend: one call is prepared (checked, addresses and functions fixed) and then run
// any number of times. The algorithms are in collective_staged.cpp (ordinary memory, through the group's
// workspace) and collective_direct.cpp (symmetric memory, read and written in place).
#pragma once

#include <memory>
#include <span>
#include <utility>

#include "kernels/collectives/communicator.hpp"
#include "kernels/host/collectives/collective_reduce.hpp"
#include "kernels/host/symmetric/signal.hpp"
#include "kernels/host/symmetric/symmetric_memory.hpp"

namespace peri::kernels::host {

// Something that can be recorded and run again. Nothing is allocated in `run` after its first time.
class HostCall {
 public:
  virtual ~HostCall() = default;
  virtual Status run() = 0;
  // From here on this operand (inputs first, then outputs) lies there. It is ordinary memory.
  virtual void move_operand(size_t operand, std::byte* data) = 0;
};

class Communicator final : public CommunicatorOf<GroupContext, Channel> {
 public:
  using CommunicatorOf::CommunicatorOf;
  // Collective over the world: begins the job's next generation.
  Status recover();

 private:
  std::unique_ptr<GroupContext> make_context(const Group& group) override;
  Result<std::unique_ptr<Channel>> open_channel(const Group& group, int from, int to,
                                                const job::Operation& operation) override;
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
