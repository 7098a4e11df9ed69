// The pool. A run publishes a task under a new generation number; every worker acknowledges every generation,
// whether it has a part of it or not, so none can miss one. Workers spin for some microseconds before they
// sleep, as kernels come in bursts.
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
  explicit Pool(int workers) {
    workers_.reserve(workers);
    for (int i = 0; i < workers; ++i) {
      Result<std::jthread> worker = start_thread([this, i] { work(i + 1); });
      if (!worker) return;  // the caller does the missing workers' parts
      workers_.push_back(std::move(*worker));
    }
  }
  ~Pool() {
    stopping_ = true;
    publish(0, nullptr, nullptr);
  }

  int workers() const { return static_cast<int>(workers_.size()); }

  void run(int parts, void (*task)(void*, int), void* context) {
    publish(parts, task, context);
    task(context, 0);
    for (int part = workers() + 1; part < parts; ++part) task(context, part);
    // Pairs with the workers' release decrements: their writes are visible from here on.
    for (int left; (left = pending_.load(std::memory_order_acquire)) != 0;) wait_while_equal(pending_, left);
  }

 private:
  void publish(int parts, void (*task)(void*, int), void* context) {
    parts_ = parts;
    task_ = task;
    context_ = context;
    pending_.store(workers(), std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);  // pairs with the workers' acquire loads
    generation_.notify_all();
  }

  void work(int part) {
    for (uint32_t seen = 0;; ++seen) {
      wait_while_equal(generation_, seen);
      if (stopping_) return;
      if (part < parts_) task_(context_, part);
      if (pending_.fetch_sub(1, std::memory_order_release) == 1) pending_.notify_one();
    }
  }

  std::atomic<uint32_t> generation_ = 0;
  std::atomic<int> pending_ = 0;
  bool stopping_ = false;  // this and the next three: written before a generation is published, read after
  int parts_ = 0;
  void (*task_)(void*, int) = nullptr;
  void* context_ = nullptr;
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
