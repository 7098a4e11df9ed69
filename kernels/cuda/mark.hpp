// Marks in the stream are events, and this is how their times become the host's. A graph records its events
// anew in every replay; an event's time is known only as its distance from another one, so one event now and
// then is recorded while the host looks at its own clock.
#pragma once

#include <memory>
#include <optional>

#include "kernels/backend.hpp"
#include "kernels/cuda/collectives/collective.hpp"
#include "kernels/cuda/memory/device.hpp"

namespace peri::kernels::cuda {

class Event {
 public:
  // `captured`: a graph will record it.
  static Result<std::shared_ptr<Event>> create(std::shared_ptr<Device> device, bool captured);
  ~Event();
  Event(const Event&) = delete;
  cudaEvent_t get() const { return event_; }
  bool is_captured() const { return captured_; }

 private:
  Event(std::shared_ptr<Device> device, bool captured) : device_(std::move(device)), captured_(captured) {}
  std::shared_ptr<Device> device_;
  bool captured_;
  cudaEvent_t event_ = nullptr;
};

// Shares the event with the call: a recording and whoever asks for its times end in any order.
class CudaMark final : public Mark {
 public:
  explicit CudaMark(std::shared_ptr<const Event> event) : event_(std::move(event)) {}
  const Event& event() const { return *event_; }

 private:
  std::shared_ptr<const Event> event_;
};

class RecordEvent final : public StreamCall {
 public:
  RecordEvent(std::shared_ptr<const Event> event, cudaStream_t stream)
      : event_(std::move(event)), stream_(stream) {}
  Status enqueue() override;

 private:
  std::shared_ptr<const Event> event_;
  cudaStream_t stream_;
};

class EventClock {
 public:
  explicit EventClock(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  bool is_set() const { return base_ != nullptr; }
  // Compares the clocks. The stream is idle.
  Status set();
  // Does so again if that is long ago and the stream idle: clocks drift apart, and distances are floats.
  void keep_set();
  // On host_clock; nothing before the stream has passed the event.
  std::optional<int64_t> time(const Event& event) const;

 private:
  std::shared_ptr<Device> device_;
  std::shared_ptr<const Event> base_;
  int64_t base_time_ = 0;
};

}  // namespace peri::kernels::cuda
