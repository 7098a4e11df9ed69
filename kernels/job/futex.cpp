#include "kernels/job/futex.hpp"

#include <immintrin.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace peri::kernels::job {
namespace {

// The kernel wants a plain 32-bit word; a lock-free atomic of that size is one.
uint32_t* raw(std::atomic<uint32_t>& word) {
  return reinterpret_cast<uint32_t*>(&word);
}

}  // namespace

void SharedWord::wake() {
  syscall(SYS_futex, raw(value), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void SharedWord::sleep(uint32_t target, std::chrono::nanoseconds at_most) {
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  uint32_t seen = value.load(std::memory_order_seq_cst);
  if (static_cast<int32_t>(seen - target) < 0) {
    timespec limit{.tv_sec = at_most.count() / 1'000'000'000, .tv_nsec = at_most.count() % 1'000'000'000};
    syscall(SYS_futex, raw(value), FUTEX_WAIT, seen, &limit, nullptr, 0);
  }
  sleepers.fetch_sub(1, std::memory_order_seq_cst);
}

bool SharedWord::spin(uint32_t target, std::chrono::nanoseconds at_most) const {
  auto end = std::chrono::steady_clock::now() + at_most;
  do {
    for (int i = 0; i < 64; ++i) {  // between looks at the clock, which costs as much as some twenty turns
      if (reached(target)) return true;
      _mm_pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace peri::kernels::job
