#include "kernels/cuda/memory/memory.hpp"

#include <fmt/format.h>

#include <atomic>

#include "core/bytes.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr Bytes kMaxWaiting(256 << 20);  // of pinned memory: then the device is waited for

void free_memory(std::byte* data, Place place) {
  if (place == Place::device)
    cudaFree(data);
  else
    cudaFreeHost(data);
}

class Allocator final : public CachingAllocator {
 public:
  explicit Allocator(std::shared_ptr<Device> device)
      : CachingAllocator({.min_block = Bytes(512), .page = Bytes(2 << 20)}), device_(std::move(device)) {}
  ~Allocator() override { free_cached(); }
  Result<std::shared_ptr<Storage>> allocate(Bytes bytes, Place place) override {
    if (place == Place::host && Bytes(waiting_.load()) > kMaxWaiting) PERI_TRY(device_->finish());
    return CachingAllocator::allocate(bytes, place);
  }
  void free_cached() override {
    static_cast<void>(device_->finish());
    CachingAllocator::free_cached();
  }

 private:
  Result<std::byte*> get(Block block) override {
    const auto size = static_cast<size_t>(block.bytes.count());
    const std::string what =
        fmt::format("{} of {} memory", describe_bytes(block.bytes), to_string(block.place));
    void* data = nullptr;
    const cudaError_t error = block.place == Place::device
                                  ? cudaMalloc(&data, size)
                                  : cudaHostAlloc(&data, size, cudaHostAllocPortable);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      size_t left = 0, total = 0;
      cudaMemGetInfo(&left, &total);
      return fail(Code::OutOfMemory,
                  fmt::format("{}: GPU {} has {} of {} left", what, device_->index(),
                              describe_bytes(Bytes(left)), describe_bytes(Bytes(total))),
                  {}, "make the problem or the number of ranks smaller");
    }
    PERI_TRY(check(error, what));
    return static_cast<std::byte*>(data);
  }
  void give_back(std::byte* data, Block block) override { free_memory(data, block.place); }
  void retire(std::byte* data, Block block) override {
    if (block.place == Place::device) return keep(data, block);
    waiting_ += block.bytes.count();
    // The device, which may outlive this allocator, does not keep it.
    device_->retire([weak = weak_from_this(), data, block] {
      if (auto self = std::static_pointer_cast<Allocator>(weak.lock())) {
        self->waiting_ -= block.bytes.count();
        self->keep(data, block);
      } else {
        free_memory(data, block.place);
      }
    });
  }

  std::shared_ptr<Device> device_;
  std::atomic<int64_t> waiting_{0};  // bytes of the host: freed, and the device may still use them
};

}  // namespace

std::shared_ptr<CachingAllocator> make_allocator(std::shared_ptr<Device> device) {
  return std::make_shared<Allocator>(std::move(device));
}

}  // namespace peri::kernels::cuda
