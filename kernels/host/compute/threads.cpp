// The pool. A run opens its parts under a new generation number, and whoever claims an open part does it: a
// worker the one of its own number, so that data stays in its cache, and the caller those that no worker has
// begun when it has done its own. So a run waits for a worker only while that computes, not while another
// process has its core. Workers spin for some microseconds before they sleep, as kernels come in bursts.
#include "kernels/host/compute/threads.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "core/thread.hpp"
#include "kernels/host/compute/kernel.hpp"

namespace peri::kernels::host {
namespace {

constexpr int kSpins = 200;  // of `pause`, about 5 us

template <class T>
void wait_while_equal(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    __builtin_ia32_pause();
  }
  value.wait(old, std::memory_order_acquire);
}

class Pool {
 public:
  explicit Pool(int workers) : open_(static_cast<size_t>(workers) + 1) {
    workers_.reserve(workers);
    for (int i = 0; i < workers; ++i) {
      Result<std::jthread> worker = start_thread([this, i] { work(i + 1); });
      if (!worker) return;  // the caller does the missing workers' parts
      workers_.push_back(std::move(*worker));
    }
  }
  ~Pool() {
    stopping_ = true;
    wake();
  }

  // At most one part more than the pool was to have workers.
  void run(int parts, void (*task)(void*, int), void* context) {
    task_ = task;
    context_ = context;
    ++generation_;
    pending_.store(parts, std::memory_order_relaxed);
    for (int part = 0; part < parts; ++part)
      open_[part].generation.store(generation_, std::memory_order_release);  // pairs with `try_part`
    wake();
    for (int part = 0; part < parts; ++part) try_part(part, generation_);
    // Pairs with the workers' release decrements: their writes are visible from here on.
    for (int left; (left = pending_.load(std::memory_order_acquire)) != 0;) wait_while_equal(pending_, left);
  }

 private:
  void wake() {
    runs_.fetch_add(1, std::memory_order_release);
    runs_.notify_all();
  }

  // Does the part if it is open in this generation: then the run waits for it, and its task stays.
  void try_part(int part, uint64_t generation) {
    if (!open_[part].generation.compare_exchange_strong(generation, 0, std::memory_order_acquire)) return;
    task_(context_, part);
    if (pending_.fetch_sub(1, std::memory_order_release) == 1) pending_.notify_one();
  }

  void work(int part) {
    for (uint32_t seen = 0;; seen = runs_.load(std::memory_order_acquire)) {
      if (stopping_) return;
      if (const uint64_t open = open_[part].generation.load(std::memory_order_relaxed)) try_part(part, open);
      wait_while_equal(runs_, seen);
    }
  }

  struct alignas(64) Part {
    std::atomic<uint64_t> generation = 0;  // in which it is open; 0: in none
  };

  std::atomic<uint32_t> runs_ = 0;  // what workers wait on
  std::atomic<int> pending_ = 0;    // parts that are not done
  std::atomic<bool> stopping_ = false;
  uint64_t generation_ = 0;
  // Written before parts are opened, read by those who have claimed one.
  void (*task_)(void*, int) = nullptr;
  void* context_ = nullptr;
  std::vector<Part> open_;             // by part
  std::vector<std::jthread> workers_;  // last: joined before what they use is gone
};

std::atomic<int> threads = 1;
std::mutex pool_mutex;  // held during a run: a second thread that runs a kernel meanwhile does so alone
std::unique_ptr<Pool> pool;

// A forked child has none of its parent's threads; it makes its own pool when it first needs one.
const int kForkHandler = pthread_atfork([] { pool_mutex.lock(); }, [] { pool_mutex.unlock(); },
                                        [] {
                                          (void)pool.release();
                                          pool_mutex.unlock();
                                        });

struct Scratch {
  std::byte* data = nullptr;
  int64_t bytes = 0;
  ~Scratch() { release(); }
  void release() { ::operator delete(data, std::align_val_t(64)); }
};

}  // namespace

int thread_count() {
  return threads.load(std::memory_order_relaxed);
}

void set_thread_count(int count) {
  std::lock_guard lock(pool_mutex);
  threads = std::clamp(count, 1, kMaxThreads);
  pool.reset();
}

std::byte* thread_scratch(int64_t bytes) {
  thread_local Scratch scratch;
  if (scratch.bytes < bytes) {
    scratch.release();
    scratch.data = static_cast<std::byte*>(::operator new(static_cast<size_t>(bytes), std::align_val_t(64)));
    scratch.bytes = bytes;
  }
  return scratch.data;
}

void detail::run_parts(int parts, void (*task)(void*, int), void* context) {
  std::unique_lock lock(pool_mutex, std::try_to_lock);
  if (!lock.owns_lock()) {
    for (int part = 0; part < parts; ++part) task(context, part);
    return;
  }
  if (!pool) pool = std::make_unique<Pool>(thread_count() - 1);
  pool->run(parts, task, context);
}

}  // namespace peri::kernels::host
