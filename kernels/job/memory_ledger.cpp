#include "kernels/job/memory_ledger.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/bytes.hpp"
#include "kernels/os/machine.hpp"

namespace peri::kernels::job {
namespace {

constexpr int64_t kMargin = 256 << 20;  // left to the rest of the machine
constexpr int64_t kLarge = 4 << 20;     // asking the machine costs nothing beside touching so many pages

}  // namespace

int64_t promisable_memory() {
  return std::max<int64_t>(os::available_memory() - kMargin, 0);
}

Status promise_memory(MemoryLedger& ledger, int64_t bytes, const std::string& kind) {
  int64_t limit = ledger.limit.load(std::memory_order_relaxed);
  // Asking the machine costs some 50 us, so only for sizes where that is nothing.
  int64_t available = bytes > kLarge ? promisable_memory() : bytes;
  int64_t before = ledger.promised.load(std::memory_order_relaxed);
  // What is refused is at no time counted: the other ranks' allocations must not fail for it.
  while (bytes <= limit - before && bytes <= available)
    if (ledger.promised.compare_exchange_weak(before, before + bytes, std::memory_order_relaxed)) return {};
  return fail(
      Code::OutOfMemory,
      fmt::format("{} of {} memory: the machine has {} left, and the job holds {}", describe_bytes(bytes),
                  kind, describe_bytes(std::min(std::max<int64_t>(limit - before, 0), promisable_memory())),
                  describe_bytes(before)),
      {}, "make the problem or the number of ranks smaller");
}

void release_memory(MemoryLedger& ledger, int64_t bytes) {
  ledger.promised.fetch_sub(bytes, std::memory_order_relaxed);
}

}  // namespace peri::kernels::job
