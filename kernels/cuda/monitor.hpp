// Connects the kernels' waits with the job: it stops them when the job fails, a peer that they wait
// for has left, or the user interrupts, and turns what they report into errors.
//
// Errors of kernels surface late: at `synchronize`, at a copy to the host, at an exchange, and at the first
// call after the failure. They are told once; after that the rank computes, but communicates no more until
// the job recovers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/memory/device.hpp"
#include "kernels/cuda/symmetric/device_view.cuh"
#include "kernels/job/control.hpp"

namespace peri::kernels::cuda {

class Monitor {
 public:
  static Result<std::unique_ptr<Monitor>> start(job::Control& control, std::shared_ptr<Device> device);
  ~Monitor();

  const Watch& watch() const { return watch_; }
  // The number by which kernels name an operation; the same for equal ones.
  uint32_t number(const job::Operation& operation);
  // Whether a kernel has failed; does not wait.
  bool has_failure() const;
  // Waits for the stream; then the failure of its kernels, if any failed.
  Status synchronize();
  // The error for a collective after one has failed: its data may still arrive where later ones look for
  // theirs.
  Status can_communicate(const job::Operation& operation) const;
  // While the lock is held, the monitor's thread looks at nothing and tells kernels nothing.
  std::unique_lock<std::mutex> pause() { return std::unique_lock(mutex_); }
  // Forgets what kernels have reported and what they were told, when none is running and the monitor is
  // paused.
  Status reset();
  // Called before the rank leaves the job.
  void stop();

  // For kernels that are not ours: the monitor's thread calls `watch` every few milliseconds, with whether
  // the job has failed, until `stop`. It must make no CUDA call.
  void add_watchdog(std::function<void(bool failed)> watch);
  // From any thread: what a kernel of ours would report when it fails.
  void report(Failure why, uint32_t operation, int peer);

 private:
  Monitor(job::Control& control, std::shared_ptr<Device> device)
      : control_(control), device_(std::move(device)) {}
  // In pinned memory.
  struct Shared {
    uint32_t abort;
    FailureRecord record;
    uint64_t waiting;
  };
  void run();
  Status failure();
  Status describe(const FailureRecord& record);

  job::Control& control_;
  std::shared_ptr<Device> device_;
  Shared* shared_ = nullptr;
  Watch watch_{};
  std::map<std::string, uint32_t> numbers_;
  std::deque<job::Operation> operations_;
  std::optional<Error> first_failure_;
  // The peer whose exchange this rank keeps from ending while a kernel waits for that peer; -1: none.
  std::atomic<int> awaited_by_{-1};
  std::vector<std::function<void(bool)>> watchdogs_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::jthread thread_;
};

}  // namespace peri::kernels::cuda
