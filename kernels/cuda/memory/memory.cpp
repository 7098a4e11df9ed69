#include "kernels/cuda/memory/memory.hpp"

#include <fmt/format.h>

#include <bit>
#include <limits>

#include "core/bytes.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr Bytes kMinBlock(512);
constexpr Bytes kLarge(64 << 20);  // from here on sizes are rounded to pages of the GPU
constexpr Bytes kPage(2 << 20);
constexpr Bytes kMaxWaiting(256 << 20);  // of pinned memory: then the device is waited for

Bytes size_class(Bytes bytes) {
  if (bytes <= kMinBlock) return kMinBlock;
  if (bytes > kLarge) return rounded_up(bytes, kPage);
  return rounded_up(bytes, Bytes(std::bit_ceil(static_cast<uint64_t>(bytes.count())) / 8));
}

void give_back(std::byte* data, Place place) {
  if (place == Place::device)
    cudaFree(data);
  else
    cudaFreeHost(data);
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
  if (place == Place::host && has_many_waiting()) PERI_TRY(device_->finish());
  std::byte* data = nullptr;
  {
    std::lock_guard lock(mutex_);
    auto list = free_.find({place, size});
    if (list != free_.end() && !list->second.empty()) {
      data = list->second.back();
      list->second.pop_back();
    }
  }
  if (!data) data = PERI_TRY(fresh(size, place));
  {
    std::lock_guard lock(mutex_);
    live_.emplace(data, Block{size, place});
  }
  return std::make_shared<OrdinaryStorage>(shared_from_this(), data, bytes, place);
}

bool Allocator::has_many_waiting() const {
  std::lock_guard lock(mutex_);
  return waiting_ > kMaxWaiting;
}

Result<std::byte*> Allocator::fresh(Bytes bytes, Place place) {
  auto ask = [&](void*& data) {
    const auto size = static_cast<size_t>(bytes.count());
    return place == Place::device ? cudaMalloc(&data, size)
                                  : cudaHostAlloc(&data, size, cudaHostAllocPortable);
  };
  void* data = nullptr;
  cudaError_t error = ask(data);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    free_cached();
    error = ask(data);
  }
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t left = 0, total = 0;
    cudaMemGetInfo(&left, &total);
    return fail(
        Code::OutOfMemory,
        fmt::format("{} of {} memory: GPU {} has {} of {} left", describe_bytes(bytes), to_string(place),
                    device_->index(), describe_bytes(Bytes(left)), describe_bytes(Bytes(total))),
        {}, "make the problem or the number of ranks smaller");
  }
  PERI_TRY(check(error, fmt::format("{} of {} memory", describe_bytes(bytes), to_string(place))));
  return static_cast<std::byte*>(data);
}

void Allocator::release(std::byte* data) {
  std::unique_lock lock(mutex_);
  auto found = live_.find(data);
  const Block block = found->second;
  live_.erase(found);
  if (block.place == Place::device) {
    free_[{block.place, block.bytes}].push_back(data);
    return;
  }
  waiting_ += block.bytes;
  lock.unlock();
  // The device, which may outlive this allocator, does not keep it.
  device_->retire([weak = weak_from_this(), data, block] {
    if (auto self = weak.lock())
      self->keep(data, block);
    else
      give_back(data, block.place);
  });
}

void Allocator::keep(std::byte* data, Block block) {
  std::lock_guard lock(mutex_);
  waiting_ -= block.bytes;
  free_[{block.place, block.bytes}].push_back(data);
}

void Allocator::free_cached() {
  static_cast<void>(device_->finish());
  std::lock_guard lock(mutex_);
  for (auto& [kind, blocks] : free_)
    for (std::byte* data : blocks) give_back(data, kind.first);
  free_.clear();
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

}  // namespace peri::kernels::cuda
