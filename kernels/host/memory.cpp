#include "kernels/host/memory.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstdlib>

#include "core/bytes.hpp"
#include "kernels/os/descriptor.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kAlignment = 64;
constexpr Bytes kPage(4096);
constexpr Bytes kHuge(4 << 20);  // from here on huge pages are asked for

class Allocator final : public CachingAllocator {
 public:
  explicit Allocator(std::shared_ptr<job::MemoryLedger> ledger)
      : CachingAllocator({.min_block = Bytes(256),
                          .page = kPage,
                          .max_kept_block = kLarge,
                          .max_kept = Bytes(512 << 20),
                          .is_one_place = true}),
        ledger_(std::move(ledger)) {}
  ~Allocator() override { free_cached(); }

 private:
  Result<std::byte*> get(Block block) override {
    const Bytes bytes = block.bytes;
    PERI_TRY(job::promise_memory(*ledger_, bytes, to_string(block.place)));
    auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes.count()));
    if (!data) {
      job::release_memory(*ledger_, bytes);
      return os::failure(Code::OutOfMemory,
                         fmt::format("{} of {} memory", describe_bytes(bytes), to_string(block.place)));
    }
    // Large tensors are walked from end to end: with huge pages the page tables stay in the cache.
    if (bytes > kHuge) {
      const uintptr_t page = kPage.count();
      auto begin = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
      madvise(reinterpret_cast<void*>(begin), (bytes - kPage).count(), MADV_HUGEPAGE);
    }
    return data;
  }
  void give_back(std::byte* data, Block block) override {
    std::free(data);
    job::release_memory(*ledger_, block.bytes);
  }

  std::shared_ptr<job::MemoryLedger> ledger_;
};

}  // namespace

std::shared_ptr<CachingAllocator> make_allocator(std::shared_ptr<job::MemoryLedger> ledger) {
  return std::make_shared<Allocator>(std::move(ledger));
}

}  // namespace peri::kernels::host
