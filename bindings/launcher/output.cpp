#include "bindings/launcher/output.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace peri::launcher {
namespace {

constexpr size_t kTailLineBytes = 1000;

}  // namespace

std::string ranks_to_string(const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size();) {
    size_t last = i;
    while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", ranks[i]) : fmt::format("{}-{}", ranks[i], ranks[last]);
    i = last + 1;
  }
  return text;
}

RankOutput::RankOutput(int ranks, Lines out, Lines err, Sink sink) : ranks_(ranks), sink_(std::move(sink)) {
  for (Lines lines : {out, err}) {
    channels_.push_back(Channel{lines, {}});
    channels_.back().lanes.resize(static_cast<size_t>(ranks));
  }
}

void RankOutput::feed(int rank, Stream stream, std::string_view bytes, Time now) {
  if (ranks_ == 1) return sink_(stream, std::string(bytes));
  Lane& lane = channel(stream).lanes[rank];
  for (;;) {
    size_t newline = bytes.find('\n');
    lane.partial.append(bytes.substr(0, newline));
    if (newline == std::string_view::npos && lane.partial.size() < kMaxLine) break;
    take_line(lane, stream, std::exchange(lane.partial, {}), now);
    if (newline == std::string_view::npos) break;
    bytes.remove_prefix(newline + 1);
  }
  release(stream, now);
}

void RankOutput::end(int rank, Stream stream, Time now) {
  Lane& lane = channel(stream).lanes[rank];
  if (lane.ended) return;
  if (!lane.partial.empty()) take_line(lane, stream, std::exchange(lane.partial, {}), now);
  lane.ended = true;
  release(stream, now);
}

void RankOutput::tick(Time now) {
  release(Stream::out, now);
  release(Stream::err, now);
}

std::optional<RankOutput::Time> RankOutput::next_deadline() const {
  std::optional<Time> next;
  for (const Channel& channel : channels_) {
    for (const Lane& lane : channel.lanes) {
      if (lane.pending.empty()) continue;
      Time due = lane.pending.front().arrived + kMaxWait;
      next = next ? std::min(*next, due) : due;
    }
  }
  return next;
}

bool RankOutput::full(int rank, Stream stream) const {
  return channel(stream).lanes[rank].pending_bytes > kMaxPending;
}

RankOutput::Tail RankOutput::tail(int rank) const {
  const Lane& lane = channel(Stream::err).lanes[rank];
  Tail tail{lane.last_lines.empty(), {}};
  if (shown_ - lane.last_shown > static_cast<int64_t>(kLastLines))
    tail.scrolled_away.assign(lane.last_lines.begin(), lane.last_lines.end());
  return tail;
}

void RankOutput::take_line(Lane& lane, Stream stream, std::string text, Time now) {
  if (stream == Stream::err) {
    lane.last_lines.push_back(text.substr(0, kTailLineBytes));
    if (lane.last_lines.size() > kLastLines) lane.last_lines.pop_front();
  }
  lane.pending_bytes += text.size();
  lane.pending.push_back({std::move(text), now});
}

void RankOutput::release(Stream stream, Time now) {
  Channel& from = channel(stream);
  std::string text;
  if (from.lines == Lines::merged) {
    merge(from, now, text);
  } else {
    for (int rank = 0; rank < ranks_; ++rank) show(from, {rank}, from.lanes[rank].pending.size(), text);
  }
  if (!text.empty()) sink_(stream, std::move(text));
}

void RankOutput::merge(Channel& channel, Time now, std::string& text) {
  for (;;) {
    // Ranks that still take part: a rank that has ended and has nothing waiting does not hold up the others.
    std::vector<int> ranks;
    bool waiting = false;  // for a line of some rank
    bool full = false, all_ended = true;
    std::optional<Time> oldest;
    for (int rank = 0; rank < ranks_; ++rank) {
      const Lane& lane = channel.lanes[rank];
      if (lane.ended && lane.pending.empty()) continue;
      ranks.push_back(rank);
      full = full || lane.pending_bytes > kMaxPending;
      all_ended = all_ended && lane.ended;
      if (lane.pending.empty()) {
        waiting = true;
      } else {
        oldest = std::min(oldest.value_or(Time::max()), lane.pending.front().arrived);
      }
    }
    if (!oldest) return;
    const Lane& first = channel.lanes[ranks.front()];
    auto has_next = [&](int rank) {
      return channel.lanes[rank].pending.front().text == first.pending.front().text;
    };
    if (!waiting && std::all_of(ranks.begin(), ranks.end(), has_next)) {
      show(channel, ranks, 1, text);
      continue;
    }
    const bool ample = !waiting && (full || all_ended);  // enough to align by, or all there will be
    if (now - *oldest < kMaxWait && !ample) return;

    // The first line of the first rank that all others have too, and where each has it.
    std::vector<size_t> counts(static_cast<size_t>(ranks_), 0);
    bool aligned = false;
    if (!waiting) {
      std::vector<std::unordered_map<std::string_view, size_t>> positions(ranks.size());
      for (size_t i = 0; i < ranks.size(); ++i) {
        const auto& pending = channel.lanes[ranks[i]].pending;
        for (size_t at = 0; at < pending.size(); ++at) positions[i].try_emplace(pending[at].text, at);
      }
      for (const Line& line : first.pending) {
        auto has = [&](const auto& lines) { return lines.contains(line.text); };
        aligned = std::all_of(positions.begin(), positions.end(), has);
        if (!aligned) continue;
        for (size_t i = 0; i < ranks.size(); ++i) counts[ranks[i]] = positions[i].find(line.text)->second;
        break;
      }
    }
    // Lines half as old as the oldest go with it: ranks print alike a moment apart.
    if (!aligned) {
      for (int rank : ranks) {
        const auto& pending = channel.lanes[rank].pending;
        auto young = [&](const Line& line) { return !ample && now - line.arrived < kMaxWait / 2; };
        counts[rank] = std::find_if(pending.begin(), pending.end(), young) - pending.begin();
      }
    }
    flush(channel, std::move(counts), text);
  }
}

// Shows the first counts[r] lines of each rank r, rank by rank in blocks; ranks whose blocks begin alike
// share them.
void RankOutput::flush(Channel& channel, std::vector<size_t> counts, std::string& text) {
  for (int rank = 0; rank < ranks_; ++rank) {
    while (counts[rank] > 0) {
      const auto& lines = channel.lanes[rank].pending;
      std::vector<int> alike;
      for (int other = rank; other < ranks_; ++other) {
        if (counts[other] > 0 && channel.lanes[other].pending.front().text == lines.front().text)
          alike.push_back(other);
      }
      size_t count = 1;
      auto also_next = [&](int other) {
        return count < counts[other] && channel.lanes[other].pending[count].text == lines[count].text;
      };
      while (std::all_of(alike.begin(), alike.end(), also_next)) ++count;
      for (int other : alike) counts[other] -= count;
      show(channel, alike, count, text);
    }
  }
}

// The next `count` lines, which these ranks have alike.
void RankOutput::show(Channel& channel, const std::vector<int>& ranks, size_t count, std::string& text) {
  if (count == 0) return;
  const std::string mark = "[" + ranks_to_string(ranks) + "] ";
  for (size_t i = 0; i < count; ++i) {
    text.append(mark).append(channel.lanes[ranks.front()].pending[i].text).push_back('\n');
  }
  shown_ += static_cast<int64_t>(count);
  for (int rank : ranks) {
    Lane& lane = channel.lanes[rank];
    for (size_t i = 0; i < count; ++i) {
      lane.pending_bytes -= lane.pending.front().text.size();
      lane.pending.pop_front();
    }
    lane.last_shown = shown_;
  }
}

}  // namespace peri::launcher
