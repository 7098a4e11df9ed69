#include "kernels/memory/caching_allocator.hpp"

#include <fmt/format.h>

#include <bit>

namespace peri::kernels {

class OrdinaryStorage final : public Storage {
 public:
  OrdinaryStorage(std::shared_ptr<CachingAllocator> owner, std::byte* data, Bytes bytes, Place place)
      : Storage(data, bytes, place, DefaultAllocator{}), owner_(std::move(owner)) {}
  ~OrdinaryStorage() override { owner_->release(data_); }

 private:
  std::shared_ptr<CachingAllocator> owner_;
};

// Classes an eighth of their power of two apart waste at most a quarter.
Bytes CachingAllocator::size_class(Bytes bytes) const {
  if (bytes <= rules_.min_block) return rules_.min_block;
  if (bytes > kLarge) return rounded_up(bytes, rules_.page);
  return rounded_up(bytes, Bytes(std::bit_ceil(static_cast<uint64_t>(bytes.count())) / 8));
}

std::byte* CachingAllocator::find_kept(Block block) {
  std::lock_guard lock(mutex_);
  auto list = kept_.find(kind_of(block));
  if (list == kept_.end() || list->second.empty()) return nullptr;
  std::byte* data = list->second.back();
  list->second.pop_back();
  kept_bytes_ -= block.bytes;
  return data;
}

Result<std::shared_ptr<Storage>> CachingAllocator::allocate(Bytes bytes, Place place) {
  if (bytes < Bytes() || bytes > Bytes(std::numeric_limits<int64_t>::max() / 2))
    return fail(Code::InvalidArgument, fmt::format("an allocation of {} bytes", bytes.count()));
  const Block block{size_class(bytes), place};
  std::byte* data = find_kept(block);
  if (!data) {
    Result<std::byte*> fresh = get(block);
    if (!fresh && fresh.error().code == Code::OutOfMemory) {
      free_cached();
      fresh = get(block);
    }
    data = PERI_TRY(std::move(fresh));
  }
  {
    std::lock_guard lock(mutex_);
    live_.emplace(data, block);
  }
  return std::make_shared<OrdinaryStorage>(shared_from_this(), data, bytes, place);
}

void CachingAllocator::release(std::byte* data) {
  std::unique_lock lock(mutex_);
  auto found = live_.find(data);
  const Block block = found->second;
  live_.erase(found);
  lock.unlock();
  retire(data, block);
}

void CachingAllocator::keep(std::byte* data, Block block) {
  {
    std::lock_guard lock(mutex_);
    if (block.bytes <= rules_.max_kept_block && kept_bytes_ + block.bytes <= rules_.max_kept) {
      kept_[kind_of(block)].push_back(data);
      kept_bytes_ += block.bytes;
      return;
    }
  }
  give_back(data, block);
}

void CachingAllocator::free_cached() {
  std::lock_guard lock(mutex_);
  for (auto& [kind, blocks] : kept_)
    for (std::byte* data : blocks) give_back(data, {kind.second, kind.first});
  kept_.clear();
  kept_bytes_ = {};
}

Place CachingAllocator::place_of(const std::byte* address) const {
  std::lock_guard lock(mutex_);
  auto after = live_.upper_bound(address);
  if (after == live_.begin()) return Place::host;
  const auto& [data, block] = *std::prev(after);
  return address < data + block.bytes ? block.place : Place::host;
}

}  // namespace peri::kernels
