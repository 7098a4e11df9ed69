// What ranks print, on its way to the user: whole lines, marked with the ranks that wrote them, and lines
// that all ranks wrote alike shown once. It knows no processes, files or clock (time is an argument), so that
// it can be tested alone.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace peri::launcher {

enum class Stream : uint8_t { out, err };
enum class Lines : uint8_t { separate, merged };

// `[2] line` for one rank, `[0-3] line` for lines merged over ranks, `[0,2-3] line` for some; no mark in a
// job of one rank, whose bytes pass through unchanged. The order of lines within one rank and stream is kept,
// nothing is lost.
//
// Merging: a line is shown once when every rank that still writes to that stream has it next. If they differ,
// the oldest line waits at most kMaxWait; then the ranks are aligned again at the first line that all of
// them have waiting, and what stands before it (or, if there is no such line, what has waited) is shown rank
// by rank.
class RankOutput {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  using Sink = std::function<void(Stream, std::string)>;

  static constexpr std::chrono::milliseconds kMaxWait{100};
  static constexpr size_t kMaxLine = size_t{64} << 20;    // bytes; a longer line is broken
  static constexpr size_t kMaxPending = size_t{4} << 20;  // bytes per rank and stream, see full()
  static constexpr size_t kLastLines = 20;

  RankOutput(int ranks, Lines out, Lines err, Sink sink);

  void feed(int rank, Stream stream, std::string_view bytes, Time now);
  // The rank will write no more here; a last line without a newline is shown as a line.
  void end(int rank, Stream stream, Time now);
  // Shows what has waited long enough; due at next_deadline(), which is empty when nothing waits.
  void tick(Time now);
  std::optional<Time> next_deadline() const;
  // So far ahead of the other ranks that its pipe should not be read for the moment.
  bool full(int rank, Stream stream) const;

  // The rank's last lines of stderr (at most kLastLines, long ones cut), if more than that many lines have
  // been shown since, so that a report should repeat them; `said_nothing` if it wrote none.
  struct Tail {
    bool said_nothing = true;
    std::vector<std::string> scrolled_away;
  };
  Tail tail(int rank) const;

 private:
  struct Line {
    std::string text;
    Time arrived;
  };
  struct Lane {  // one rank's way to one stream
    std::string partial;
    std::deque<Line> pending;
    size_t pending_bytes = 0;
    bool ended = false;
    std::deque<std::string> last_lines;
    int64_t last_shown = 0;
  };
  struct Channel {
    Lines lines;
    std::vector<Lane> lanes;
  };

  Channel& channel(Stream stream) { return channels_[static_cast<size_t>(stream)]; }
  const Channel& channel(Stream stream) const { return channels_[static_cast<size_t>(stream)]; }
  void take_line(Lane& lane, Stream stream, std::string text, Time now);
  void release(Stream stream, Time now);
  void merge(Channel& channel, Time now, std::string& text);
  void flush(Channel& channel, std::vector<size_t> counts, std::string& text);
  void show(Channel& channel, const std::vector<int>& ranks, size_t count, std::string& text);

  int ranks_;
  Sink sink_;
  std::vector<Channel> channels_;
  int64_t shown_ = 0;
};

// "0-3" for {0,1,2,3}, "0,2-3" for {0,2,3}; the ranks ascend.
std::string ranks_to_string(const std::vector<int>& ranks);

}  // namespace peri::launcher
