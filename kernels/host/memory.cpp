#include "kernels/host/memory.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <limits>

#include "core/bytes.hpp"
#include "kernels/os/descriptor.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kAlignment = 64;
constexpr Bytes kMinBlock(256);
constexpr Bytes kLarge(4 << 20);  // from here on asking the machine costs nothing beside touching the pages
constexpr Bytes kMaxCachedBlock(64 << 20);
constexpr Bytes kMaxCached(512 << 20);  // freed blocks kept in all; the next go back at once

// Classes an eighth of their power of two apart waste at most a quarter; the largest blocks are rounded to
// pages.
Bytes size_class(Bytes bytes) {
  if (bytes <= kMinBlock) return kMinBlock;
  if (bytes > kMaxCachedBlock) return rounded_up(bytes, Bytes(4096));
  return rounded_up(bytes, Bytes(std::bit_ceil(static_cast<uint64_t>(bytes.count())) / 8));
}

}  // namespace

class OrdinaryStorage final : public Storage {
 public:
  OrdinaryStorage(std::shared_ptr<Allocator> owner, std::byte* data, Bytes bytes, Place place)
      : Storage(data, bytes, place, DefaultAllocator{}), owner_(std::move(owner)) {}
  ~OrdinaryStorage() override { owner_->release(data_); }

 private:
  std::shared_ptr<Allocator> owner_;
};

Result<std::shared_ptr<Storage>> Allocator::allocate(Bytes bytes, Place place) {
  if (bytes < Bytes() || bytes > Bytes(std::numeric_limits<int64_t>::max() / 2))
    return fail(Code::InvalidArgument, fmt::format("an allocation of {} bytes", bytes.count()));
  const Bytes size = size_class(bytes);
  std::lock_guard lock(mutex_);
  std::byte* data = nullptr;
  if (auto list = free_.find(size); list != free_.end() && !list->second.empty()) {
    data = list->second.back();
    list->second.pop_back();
    cached_ -= size;
  } else {
    Result<std::byte*> fresh = allocate_block(size, place);
    if (!fresh) {
      free_cached();
      fresh = allocate_block(size, place);
    }
    data = PERI_TRY(std::move(fresh));
  }
  live_.emplace(data, Block{size, place});
  return std::make_shared<OrdinaryStorage>(shared_from_this(), data, bytes, place);
}

Result<std::byte*> Allocator::allocate_block(Bytes bytes, Place place) {
  PERI_TRY(job::promise_memory(*ledger_, bytes, to_string(place)));
  auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes.count()));
  if (!data) {
    job::release_memory(*ledger_, bytes);
    return os::failure(Code::OutOfMemory,
                       fmt::format("{} of {} memory", describe_bytes(bytes), to_string(place)));
  }
  // Large tensors are walked from end to end: with huge pages the page tables stay in the cache.
  if (bytes > kLarge) {
    constexpr uintptr_t kPage = 4096;
    auto begin = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
    madvise(reinterpret_cast<void*>(begin), bytes.count() - kPage, MADV_HUGEPAGE);
  }
  return data;
}

void Allocator::release(std::byte* data) {
  std::lock_guard lock(mutex_);
  auto block = live_.find(data);
  const Bytes size = block->second.bytes;
  live_.erase(block);
  if (size <= kMaxCachedBlock && cached_ + size <= kMaxCached) {
    free_[size].push_back(data);
    cached_ += size;
  } else {
    free_block(data, size);
  }
}

void Allocator::free_block(std::byte* data, Bytes bytes) {
  std::free(data);
  job::release_memory(*ledger_, bytes);
}

void Allocator::free_cached() {
  for (auto& [size, blocks] : free_)
    for (std::byte* data : blocks) free_block(data, size);
  free_.clear();
  cached_ = {};
}

Allocator::~Allocator() {
  free_cached();
}

Place Allocator::place_of(const std::byte* address) const {
  std::lock_guard lock(mutex_);
  auto after = live_.upper_bound(address);
  if (after == live_.begin()) return Place::host;
  const auto& [data, block] = *std::prev(after);
  return address < data + block.bytes ? block.place : Place::host;
}

}  // namespace peri::kernels::host
