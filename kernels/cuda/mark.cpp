#include "kernels/cuda/mark.hpp"

#include <cmath>
#include <limits>

namespace peri::kernels::cuda {
namespace {

constexpr int64_t kSetAgainAfter = 100'000'000;    // ns
constexpr int64_t kMaxComparison = 1'000'000'000;  // ns; on an idle stream it takes about 10'000
constexpr int kComparisons = 8;

}  // namespace

Result<std::shared_ptr<Event>> Event::create(std::shared_ptr<Device> device, bool captured) {
  std::shared_ptr<Event> event(new Event(std::move(device), captured));
  PERI_TRY(check(cudaEventCreateWithFlags(&event->event_, cudaEventDefault), "an event"));
  return event;
}

// CUDA itself waits for what the stream has yet to record, but not for a graph that is still being replayed.
Event::~Event() {
  if (!event_) return;
  if (captured_)
    device_->retire([event = event_] { cudaEventDestroy(event); });
  else
    cudaEventDestroy(event_);
}

// In a graph it becomes a node, not an edge between nodes.
Status RecordEvent::enqueue() {
  return check(
      cudaEventRecordWithFlags(event_->get(), stream_,
                               event_->is_captured() ? cudaEventRecordExternal : cudaEventRecordDefault),
      "an event");
}

// The shortest of a few round trips errs least: the event was recorded between its two ends.
Status EventClock::set() {
  std::shared_ptr<const Event> nearest;
  int64_t nearest_time = 0, shortest = std::numeric_limits<int64_t>::max();
  for (int i = 0; i < kComparisons; ++i) {
    std::shared_ptr<const Event> event = PERI_TRY(Event::create(device_, false));
    const int64_t before = host_clock();
    PERI_TRY(check(cudaEventRecord(event->get(), device_->stream()), "an event"));
    int64_t after = before;
    cudaError_t passed = cudaErrorNotReady;
    while (passed == cudaErrorNotReady && after - before < kMaxComparison) {
      passed = cudaEventQuery(event->get());
      after = host_clock();
    }
    PERI_TRY(check(passed, "comparing the GPU's clock with the host's"));
    if (after - before >= shortest) continue;
    shortest = after - before;
    nearest = std::move(event);
    nearest_time = before + shortest / 2;
  }
  base_ = std::move(nearest);
  base_time_ = nearest_time;
  return {};
}

void EventClock::keep_set() {
  if (!is_set() || host_clock() - base_time_ < kSetAgainAfter) return;
  // What cannot be compared now is compared another time: the clock as it was still serves.
  if (check(cudaStreamQuery(device_->stream()), "the stream")) static_cast<void>(set());
}

std::optional<int64_t> EventClock::time(const Event& event) const {
  float milliseconds = 0;
  if (!is_set() || !check(cudaEventElapsedTime(&milliseconds, base_->get(), event.get()), "an event"))
    return std::nullopt;
  return base_time_ + std::llround(static_cast<double>(milliseconds) * 1e6);
}

}  // namespace peri::kernels::cuda
