// What the members of one group share in order to meet: blocks with arrivals, signals and packets, mapped by
// all of them, and this rank's own epochs beside them. Every group has its own, whichever other groups
// overlap it.
#pragma once

#include <memory>
#include <vector>

#include "kernels/collective_call.hpp"
#include "kernels/cuda/monitor.hpp"

namespace peri::cuda {

// One block of GPU memory of the same size on every member of a group, all mapped here.
class SharedBlocks {
 public:
  // Collective: the blocks hold zeros. `bytes` follows from the operation's text, which is compared.
  static Result<std::unique_ptr<SharedBlocks>> create(host::Control& control, std::shared_ptr<Device> device,
                                                      const Group& group, int64_t bytes,
                                                      const host::Operation& operation);
  // Made by `owner` alone and sent to `reader`, who takes part when it first needs it: member 0 is the
  // owner's.
  static Result<std::unique_ptr<SharedBlocks>> own(std::shared_ptr<Device> device, int64_t bytes);
  static Result<std::unique_ptr<SharedBlocks>> map_others(std::shared_ptr<Device> device, int64_t bytes,
                                                          const host::Fd& file);
  ~SharedBlocks();

  std::byte* data(int member) const { return data_ + member * stride_; }
  // A descriptor of this rank's block.
  Result<host::Fd> share() const;

 private:
  SharedBlocks(std::shared_ptr<Device> device, int members) : device_(std::move(device)), members_(members) {}
  Status reserve(int64_t bytes);
  Status map_own(int member);
  Status map_file(int member, const host::Fd& file);
  Status map(int member, CUmemGenericAllocationHandle handle);

  std::shared_ptr<Device> device_;
  int members_;
  int64_t stride_ = 0;
  std::byte* data_ = nullptr;
  CUmemGenericAllocationHandle own_ = 0;
  std::vector<int> mapped_;
};

class GroupContext {
 public:
  GroupContext(host::Control& control, Monitor& monitor, std::shared_ptr<Device> device, const Group& group)
      : control_(control),
        monitor_(monitor),
        device_(std::move(device)),
        group_(group),
        index_(group.index_of(control.rank())) {}
  ~GroupContext();

  host::Control& control() const { return control_; }
  Monitor& monitor() const { return monitor_; }
  const std::shared_ptr<Device>& device() const { return device_; }
  const Group& group() const { return group_; }
  int size() const { return group_.size(); }
  int index() const { return index_; }
  const GroupView& view() const { return view_; }

  // Sets up the shared part on the first call, which is collective over the members.
  Status ensure(const host::Operation& operation) {
    if (blocks_ || size() == 1) [[likely]]
      return {};
    return set_up(operation);
  }

 private:
  Status set_up(const host::Operation& operation);

  host::Control& control_;
  Monitor& monitor_;
  std::shared_ptr<Device> device_;
  Group group_;
  int index_;
  std::unique_ptr<SharedBlocks> blocks_;
  GroupView view_{};
};

// One side of the messages from one rank to another within a group.
class Channel {
 public:
  static Result<std::unique_ptr<Channel>> open(host::Control& control, std::shared_ptr<Device> device,
                                               const Group& group, int from, int to,
                                               const host::Operation& operation);
  ~Channel();
  const ChannelView& view() const { return view_; }

 private:
  Channel() = default;
  std::shared_ptr<Device> device_;
  std::unique_ptr<SharedBlocks> blocks_;
  ChannelView view_{};
};

}  // namespace peri::cuda
