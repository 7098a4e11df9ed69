// Collectives of the CUDA backend: one call is prepared (checked, addresses and arguments fixed) and then
// enqueued, in the stream or into a graph that captures it.
#pragma once

#include <memory>
#include <span>

#include "kernels/collectives/communicator.hpp"
#include "kernels/cuda/nccl/nccl.hpp"
#include "kernels/cuda/peers.hpp"
#include "kernels/cuda/symmetric/group_context.hpp"

namespace peri::kernels::cuda {

// Something that is enqueued in the rank's stream, any number of times. Nothing is allocated in `enqueue`, so
// that a stream may capture it.
class StreamCall {
 public:
  virtual ~StreamCall() = default;
  virtual Status enqueue() = 0;
  // Of a collective: the operation by which peers' errors name what this rank is doing; nullptr for what
  // concerns this rank alone.
  virtual const job::Operation* operation() const { return nullptr; }
  // Of a call by NCCL, whose kernels have no bounds of their own: what `Nccl::issue` needs to bound them.
  virtual std::shared_ptr<const NcclWork> nccl_work() const { return nullptr; }

  // Programmatic dependent launch, within a graph: whether this call may begin before the previous one has
  // ended, and waits for that by itself.
  virtual bool can_begin_early() const { return false; }
  // What it reads before it waits; empty: nothing.
  virtual std::span<const std::byte> early_operand() const { return {}; }
  // Whether it may write there, or a peer as part of it.
  virtual bool may_write(std::span<const std::byte>) const { return true; }
  // Asks this call to let the next one begin before it ends; true if it will.
  virtual bool let_next_begin() { return false; }
  // The previous call lets this one begin early.
  virtual void begin_early() {}
};

class Communicator final : public CommunicatorOf<GroupContext, Channel> {
 public:
  Communicator(job::Control& control, std::shared_ptr<SymmetricBlocks> blocks, Monitor& monitor,
               std::shared_ptr<Device> device, Peers peers)
      : CommunicatorOf(control, std::move(blocks)),
        monitor_(monitor),
        device_(std::move(device)),
        peers_(std::move(peers)) {}
  Monitor& monitor() const { return monitor_; }
  const std::shared_ptr<Device>& device() const { return device_; }
  const Peers& peers() const { return peers_; }
  // Unsupported if the group's members cannot use it.
  Result<Nccl*> nccl(const Group& group, const job::Operation& operation);
  // Enqueues the work, whose bound is NCCL's guardian if it has any of NCCL in it.
  Status issue(std::shared_ptr<const NcclWork> work, const std::function<Status()>& enqueue) {
    return work ? nccl_->issue(std::move(work), enqueue) : enqueue();
  }
  void close() {
    if (nccl_) nccl_->close();
  }
  // Collective over the world: begins the job's next generation. NCCL's communicators are made anew when
  // next needed.
  Status recover();

 private:
  std::unique_ptr<GroupContext> make_context(const Group& group) override;
  Result<std::unique_ptr<Channel>> open_channel(const Group& group, int from, int to,
                                                const job::Operation& operation) override;

  Monitor& monitor_;
  std::shared_ptr<Device> device_;
  Peers peers_;
  std::unique_ptr<Nccl> nccl_;  // made when first used
};

// Collective over the group when the group (for a message: the pair) is new. `now`: it will be enqueued at
// once, so peers are told. The call refers to the communicator.
Result<std::unique_ptr<StreamCall>> prepare_collective(Communicator& communicator, const CollectiveSpec& spec,
                                                       std::span<const Operand> inputs,
                                                       std::span<const Operand> outputs, bool now);

// A barrier of the context's members in the stream. The context is set up.
Status issue_barrier(GroupContext& context, uint64_t signature, const job::Operation& operation);

}  // namespace peri::kernels::cuda
