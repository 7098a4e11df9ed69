// The timeline of one rank as Perfetto reads it: Chrome's trace event format, one line of JSON for each
// event, handed on in pieces so that a rank that is killed has left what it saw. Separate from what is timed
// (timed_backend.hpp) and from the file that the ranks' parts become (bindings/files/timeline_file.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/backend.hpp"

namespace peri::kernels {

// Takes whole events, each followed by ",\n".
class TimelineSink {
 public:
  virtual ~TimelineSink() = default;
  virtual void write(std::string_view events) = 0;
  virtual void finish() = 0;  // nothing more will come
};

enum class Lane { script = 1, stream = 2 };

struct Label {
  std::string name, category = {};
  std::string details = {};  // members of a JSON object, each followed by a comma
  double bus_bytes = 0;      // of a collective: bytes over links, for its bandwidth

  void add(std::string_view key, std::string_view text);
  void add(std::string_view key, int64_t number);
};

class Timeline {
 public:
  static constexpr int64_t kMaxEvents = 1'000'000;

  // Names the rank's lanes.
  Timeline(TimelineSink& sink, const JobOptions& job, const std::string& device, int64_t max_events);

  // Times on host_clock. Events of a lane lie beside or within each other, an enclosing one added first.
  // Events beyond the maximum are dropped; a message says so once.
  void add(Lane lane, const Label& label, int64_t start, int64_t end);
  // Something that happened at the time it is added.
  void add_instant(const Label& label);
  bool is_full() const { return events_ >= max_events_; }

  void write();
  void finish();

 private:
  // Whether one more is taken.
  bool count();
  void append(std::string_view event);
  void append_instant(const Label& label);

  TimelineSink& sink_;
  const int process_;
  const int64_t max_events_;
  int64_t events_ = 0;
  std::string pending_;
  int64_t written_at_ = 0;
  bool finished_ = false;
};

}  // namespace peri::kernels
