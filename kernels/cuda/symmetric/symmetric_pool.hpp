// The symmetric memory of one group: blocks that grow in place, from which allocations are taken. An
// allocation lies at the same offset in all members' blocks. Members free when they like, so what is free is
// compared at the next allocation, which all make together.
#pragma once

#include <memory>
#include <mutex>

#include "kernels/cuda/symmetric/multicast.hpp"
#include "kernels/symmetric/free_list.hpp"

namespace peri::kernels::cuda {

// Held by shared_ptr because storages may outlive the group's context.
class SymmetricPool {
 public:
  // `multicast_refusal`: why the pool gets no multicast addresses; empty if it may.
  static Result<std::shared_ptr<SymmetricPool>> create(std::shared_ptr<Device> device, const Group& group,
                                                       std::string multicast_refusal);

  // Collective. The offset of `bytes` (at least one) that no member uses; their contents are undefined.
  Result<int64_t> take(job::Control& control, int64_t bytes, const job::Operation& operation);
  void give_back(int64_t offset, int64_t bytes);
  std::byte* data(int member) const { return blocks_->data(member); }
  int64_t bytes() const { return blocks_->bytes(); }  // of each member's block, free or not
  const Multicast& multicast() const { return multicast_; }

 private:
  SymmetricPool(std::shared_ptr<Device> device, const Group& group, std::string multicast_refusal);

  std::shared_ptr<Device> device_;
  Group group_;
  std::unique_ptr<SharedBlocks> blocks_;
  Multicast multicast_;  // after the blocks, to be gone before them
  std::mutex mutex_;     // tensors are freed by whoever drops them last
  FreeList free_;
};

}  // namespace peri::kernels::cuda
