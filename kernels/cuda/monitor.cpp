#include "kernels/cuda/monitor.hpp"

#include <fmt/format.h>

#include <atomic>
#include <new>

#include "core/thread.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr std::chrono::milliseconds kPeriod{2};
constexpr uint64_t kSettled = 5'000'000;  // ns until what a peer wrote before it stopped is surely seen

constexpr uint64_t kRankMask = (uint64_t{1} << kRankBits) - 1;

}  // namespace

Result<std::unique_ptr<Monitor>> Monitor::start(job::Control& control, std::shared_ptr<Device> device) {
  std::unique_ptr<Monitor> monitor(new Monitor(control, std::move(device)));
  void *shared = nullptr, *failed = nullptr;
  PERI_TRY(check(cudaHostAlloc(&shared, sizeof(Shared), cudaHostAllocPortable), "pinned memory"));
  monitor->shared_ = new (shared) Shared{};
  PERI_TRY(check(cudaMalloc(&failed, sizeof(uint32_t)), "memory of the GPU"));
  monitor->watch_ = {.abort = &monitor->shared_->abort,
                     .record = &monitor->shared_->record,
                     .waiting = &monitor->shared_->waiting,
                     .failed = static_cast<uint32_t*>(failed),
                     .timeout_ns = static_cast<uint64_t>(control.options().timeout_s * 1e9)};
  PERI_TRY(
      check(cudaMemsetAsync(failed, 0, sizeof(uint32_t), monitor->device_->stream()), "memory of the GPU"));
  monitor->thread_ = PERI_TRY(start_thread([m = monitor.get()] { m->run(); }));
  return monitor;
}

Monitor::~Monitor() {
  stop();
  static_cast<void>(device_->finish());
  cudaFree(watch_.failed);
  cudaFreeHost(shared_);
}

void Monitor::stop() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

uint32_t Monitor::number(const job::Operation& operation) {
  auto [entry, is_new] =
      numbers_.try_emplace(fmt::format("{} {}", operation.origin().to_string(), operation.text()),
                           static_cast<uint32_t>(operations_.size()));
  if (is_new) operations_.push_back(operation);
  return entry->second;
}

// Makes no CUDA call: the rank may be capturing, or be blocked in one.
void Monitor::run() {
  const job::Operation watching("waiting on the GPU", {});
  std::atomic_ref<uint32_t> abort(shared_->abort);
  std::atomic_ref<uint64_t> waiting(shared_->waiting);
  uint64_t seen_since = 0;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const bool failed = !control_.check_job(watching) || awaited_by_ >= 0;
    abort.store(failed ? 1 : 0, std::memory_order_relaxed);
    for (const auto& watch : watchdogs_) watch(failed);
    const uint64_t wait = waiting.load(std::memory_order_relaxed);
    const int peer = static_cast<int>(wait & kRankMask) - 1;
    const bool has_left = peer >= 0 && control_.peer_has_left(peer);
    const bool is_awaited = peer >= 0 && !has_left && control_.is_awaited_by(peer);
    if (!has_left && !is_awaited) {
      seen_since = 0;
    } else if (seen_since == 0 || (seen_since & kRankMask) != (wait & kRankMask)) {
      seen_since = wait;
    } else if ((wait - seen_since) >> kRankBits > kSettled) {
      if (is_awaited)
        awaited_by_ = peer;
      else
        static_cast<void>(control_.lost(peer, watching));  // all ranks are told; then check_job says so
    }
    wake_.wait_for(lock, kPeriod);
  }
}

void Monitor::add_watchdog(std::function<void(bool failed)> watch) {
  std::lock_guard lock(mutex_);
  watchdogs_.push_back(std::move(watch));
}

void Monitor::report(Failure why, uint32_t operation, int peer) {
  if (has_failure()) return;
  shared_->record.operation = operation;
  shared_->record.peer = peer;
  std::atomic_ref<uint32_t>(shared_->record.state)
      .store(static_cast<uint32_t>(why), std::memory_order_release);
}

bool Monitor::has_failure() const {
  return std::atomic_ref<uint32_t>(shared_->record.state).load(std::memory_order_acquire) != 0;
}

Status Monitor::synchronize() {
  PERI_TRY(device_->finish());
  return failure();
}

Status Monitor::failure() {
  if (!has_failure()) return {};
  const FailureRecord record = shared_->record;
  shared_->record.state = 0;
  PERI_TRY(
      check(cudaMemsetAsync(watch_.failed, 0, sizeof(uint32_t), device_->stream()), "memory of the GPU"));
  Status failed = describe(record);
  if (!first_failure_) first_failure_ = failed.error();
  return failed;
}

Status Monitor::reset() {
  std::atomic_ref<uint32_t>(shared_->abort).store(0, std::memory_order_relaxed);
  std::atomic_ref<uint64_t>(shared_->waiting).store(0, std::memory_order_relaxed);
  shared_->record.state = 0;
  awaited_by_ = -1;
  first_failure_.reset();
  PERI_TRY(
      check(cudaMemsetAsync(watch_.failed, 0, sizeof(uint32_t), device_->stream()), "memory of the GPU"));
  return device_->finish();
}

Status Monitor::describe(const FailureRecord& record) {
  const job::Operation& operation = operations_[record.operation];
  switch (static_cast<Failure>(record.state)) {
    case Failure::timeout:
      return control_.timeout({&record.peer, 1}, operation);
    case Failure::mismatch:
      return control_.mismatch(record.peer, operation);
    case Failure::aborted:
      if (awaited_by_ >= 0) return control_.mismatch(awaited_by_, operation);
      PERI_TRY(control_.check_job(operation));
      break;
    case Failure::none:
      break;
  }
  return operation.fail(Code::PeerLost, fmt::format("given up while it waited for rank {}", record.peer));
}

Status Monitor::can_communicate(const job::Operation& operation) const {
  if (!first_failure_) return control_.check_old_failure(operation);
  return operation.fail(first_failure_->code, "an earlier collective of this rank was given up",
                        {first_failure_->message});
}

}  // namespace peri::kernels::cuda
