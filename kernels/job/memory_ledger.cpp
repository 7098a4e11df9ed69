#include "kernels/job/memory_ledger.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/bytes.hpp"
#include "kernels/os/machine.hpp"

namespace peri::kernels::job {
namespace {

constexpr Bytes kMargin(256 << 20);  // left to the rest of the machine
constexpr Bytes kLarge(4 << 20);     // asking the machine costs nothing beside touching so many pages

}  // namespace

Bytes promisable_memory() {
  return std::max(os::available_memory() - kMargin, Bytes());
}

Status promise_memory(MemoryLedger& ledger, Bytes bytes, const std::string& kind) {
  const int64_t limit = ledger.limit.load(std::memory_order_relaxed);
  // Asking the machine costs some 50 us, so only for sizes where that is nothing.
  const Bytes available = bytes > kLarge ? promisable_memory() : bytes;
  int64_t before = ledger.promised.load(std::memory_order_relaxed);
  // What is refused is at no time counted: the other ranks' allocations must not fail for it.
  while (bytes <= Bytes(limit - before) && bytes <= available)
    if (ledger.promised.compare_exchange_weak(before, before + bytes.count(), std::memory_order_relaxed))
      return {};
  return fail(
      Code::OutOfMemory,
      fmt::format("{} of {} memory: the machine has {} left, and the job holds {}", describe_bytes(bytes),
                  kind,
                  describe_bytes(std::min(Bytes(std::max<int64_t>(limit - before, 0)), promisable_memory())),
                  describe_bytes(Bytes(before))),
      {}, "make the problem or the number of ranks smaller");
}

void release_memory(MemoryLedger& ledger, Bytes bytes) {
  ledger.promised.fetch_sub(bytes.count(), std::memory_order_relaxed);
}

}  // namespace peri::kernels::job
