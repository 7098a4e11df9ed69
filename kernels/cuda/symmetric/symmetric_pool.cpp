#include "kernels/cuda/symmetric/symmetric_pool.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/bytes.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int64_t kAlignment = 1024;
constexpr int64_t kMaxBytes = int64_t{256} << 30;  // of addresses for each member: more than a GPU has
constexpr int64_t kMaxSpare = 256 << 20;           // to grow by when less is asked for

int64_t rounded(int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

SymmetricPool::SymmetricPool(std::shared_ptr<Device> device, const Group& group,
                             std::string multicast_refusal)
    : device_(device),
      group_(group),
      multicast_(std::move(device), group, kMaxBytes, std::move(multicast_refusal)) {}

Result<std::shared_ptr<SymmetricPool>> SymmetricPool::create(std::shared_ptr<Device> device,
                                                             const Group& group,
                                                             std::string multicast_refusal) {
  std::shared_ptr<SymmetricPool> pool(new SymmetricPool(device, group, std::move(multicast_refusal)));
  pool->blocks_ = PERI_TRY(SharedBlocks::reserve(std::move(device), group.size(), kMaxBytes));
  return pool;
}

Result<int64_t> SymmetricPool::take(job::Control& control, int64_t bytes, const job::Operation& operation) {
  if (bytes > kMaxBytes)
    return operation.fail(Code::OutOfMemory,
                          fmt::format("{} are more than a GPU has", describe_bytes(Bytes(bytes))));
  bytes = std::max(rounded(bytes), kAlignment);
  // What was freed may be in use by what this rank, and by the exchange all members, have issued.
  PERI_TRY(device_->finish());
  std::string mine;
  {
    std::lock_guard lock(mutex_);
    mine = free_.text();
  }
  FreeList common = PERI_TRY(FreeList::parse(mine));
  for (const std::string& text : PERI_TRY(control.exchange(group_, mine, operation)))
    common = common.common_with(PERI_TRY(FreeList::parse(text)));
  int64_t offset = common.first_fit(bytes);
  if (offset < 0) {
    offset = blocks_->bytes();
    const int64_t spare = std::min(offset, kMaxSpare);
    Status grown = blocks_->grow(control, group_, std::max(bytes, spare), operation);
    if (!grown && grown.error().code == Code::OutOfMemory && bytes < spare)  // the same on all members
      grown = blocks_->grow(control, group_, bytes, operation);
    PERI_TRY(grown);
    {
      std::lock_guard lock(mutex_);
      free_.free(offset, blocks_->bytes() - offset);
    }
    PERI_TRY(multicast_.extend(control, blocks_->last_growth(), operation));
  }
  std::lock_guard lock(mutex_);
  free_.allocate(offset, bytes);
  return offset;
}

void SymmetricPool::give_back(int64_t offset, int64_t bytes) {
  std::lock_guard lock(mutex_);
  free_.free(offset, std::max(rounded(bytes), kAlignment));
}

}  // namespace peri::kernels::cuda
