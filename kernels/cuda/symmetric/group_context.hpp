// What the members of one group share in order to meet: blocks with arrivals, signals and packets, mapped by
// all of them, and this rank's own epochs beside them; and the pool of their symmetric memory. Every group
// has its own, whichever other groups overlap it.
#pragma once

#include <memory>
#include <string>

#include "kernels/collectives/collective_call.hpp"
#include "kernels/cuda/monitor.hpp"
#include "kernels/cuda/symmetric/symmetric_pool.hpp"

namespace peri::kernels::cuda {

class GroupContext {
 public:
  // `multicast_refusal`: why the group's memory gets no multicast addresses; empty if it may.
  GroupContext(job::Control& control, Monitor& monitor, std::shared_ptr<Device> device, const Group& group,
               std::string multicast_refusal)
      : control_(control),
        monitor_(monitor),
        device_(std::move(device)),
        group_(group),
        index_(group.index_of(control.rank())),
        multicast_refusal_(std::move(multicast_refusal)) {}
  ~GroupContext();

  job::Control& control() const { return control_; }
  Monitor& monitor() const { return monitor_; }
  const std::shared_ptr<Device>& device() const { return device_; }
  const Group& group() const { return group_; }
  int size() const { return group_.size(); }
  int index() const { return index_; }
  const GroupView& view() const { return view_; }
  // Of the group's allocations. Made when first asked for.
  Result<std::shared_ptr<SymmetricPool>> pool();

  // Sets up the shared part on the first call, which is collective over the members.
  Status ensure(const job::Operation& operation) {
    if (blocks_ || size() == 1) [[likely]]
      return {};
    return set_up(operation);
  }

  // For CommunicatorOf. Symmetric memory of a pool that is dropped lives on; only what is allocated later
  // comes from another.
  bool is_ready() const { return blocks_ != nullptr; }
  std::string shape() const;
  Status reset();
  void drop();

 private:
  Status set_up(const job::Operation& operation);
  Status clear_own_block(const SharedBlocks& blocks);

  job::Control& control_;
  Monitor& monitor_;
  std::shared_ptr<Device> device_;
  Group group_;
  int index_;
  std::string multicast_refusal_;
  std::unique_ptr<SharedBlocks> blocks_;
  std::shared_ptr<SymmetricPool> pool_;
  GroupView view_{};
};

// One side of the messages from one rank to another within a group.
class Channel {
 public:
  static Result<std::unique_ptr<Channel>> open(job::Control& control, const std::shared_ptr<Device>& device,
                                               const Group& group, int from, int to,
                                               const job::Operation& operation);
  ~Channel();
  const ChannelView& view() const { return view_; }

 private:
  Channel() = default;
  std::shared_ptr<Device> device_;
  std::unique_ptr<SharedBlocks> blocks_;
  ChannelView view_{};
};

}  // namespace peri::kernels::cuda
