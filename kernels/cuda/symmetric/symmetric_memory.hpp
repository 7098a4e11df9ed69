// Symmetric memory on GPUs: allocations in the blocks of a group's pool.
#pragma once

#include <memory>
#include <vector>

#include "kernels/cuda/memory/device.hpp"
#include "kernels/cuda/symmetric/group_context.hpp"
#include "kernels/symmetric/symmetric_memory.hpp"

namespace peri::kernels::cuda {

// A member's view of one allocation. Signals, barriers and copies are issued in the stream.
class CudaSymmetricMemory final : public SymmetricMemory {
 public:
  CudaSymmetricMemory(GroupContext& context, std::shared_ptr<SymmetricPool> pool, Bytes offset, Bytes bytes,
                      uint64_t id);
  ~CudaSymmetricMemory() override { pool_->give_back(offset_.count(), bytes().count()); }

  std::byte* buffer(int member) const override { return pool_->data(member) + offset_; }
  bool has_multicast() const override {
    return pool_->multicast().address(offset_.count(), bytes().count()) != nullptr;
  }

  Status barrier(std::string_view op) override;
  Status put_signal(int member, int channel, std::string_view op, const Origin& origin) override;
  Status wait_signal(int member, int channel, std::string_view op, const Origin& origin) override;

 private:
  Status write(std::byte* to, const std::byte* source, Bytes bytes) override;
  Status fill(std::byte* to, uint32_t value, int64_t count) override;

  GroupContext& context_;
  std::shared_ptr<SymmetricPool> pool_;
  Bytes offset_;
};

// Collective over the context's group.
Result<std::unique_ptr<SymmetricMemory>> make_symmetric_memory(GroupContext& context, Bytes bytes,
                                                               const job::Operation& operation);

}  // namespace peri::kernels::cuda
