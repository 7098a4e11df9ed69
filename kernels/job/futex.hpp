// Words in shared memory that one rank sets and others wait for. Here and nowhere else a rank goes to sleep
// on another: the futex is shared between processes (std::atomic::wait uses a private one and never wakes
// another process).
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace peri::kernels::job {

// A counter with one writer. It only grows (modulo 2^32), so that waiting for a target cannot miss it.
struct SharedWord {
  std::atomic<uint32_t> value{0};
  std::atomic<uint32_t> sleepers{0};

  // Everything written before is visible to whoever sees the new value (release). The order of the two
  // accesses is that of `sleep` reversed, both sequentially consistent: either the sleeper sees the value or
  // the writer sees the sleeper.
  void post(uint32_t next) {
    value.store(next, std::memory_order_seq_cst);
    if (sleepers.load(std::memory_order_seq_cst) != 0) [[unlikely]]
      wake();
  }
  // Acquire: pairs with the store of `post`.
  bool reached(uint32_t target) const {
    return static_cast<int32_t>(value.load(std::memory_order_acquire) - target) >= 0;
  }
  void wake();
  // Returns when the target is reached, or after `at_most`, or earlier for no reason.
  void sleep(uint32_t target, std::chrono::nanoseconds at_most);
  // Spins for `at_most`; whether the target was reached.
  bool spin(uint32_t target, std::chrono::nanoseconds at_most) const;
};
static_assert(sizeof(SharedWord) == 8 && std::atomic<uint32_t>::is_always_lock_free);

}  // namespace peri::kernels::job
