#include "bindings/launcher/failure.hpp"

#include <fmt/core.h>
#include <string.h>

#include <algorithm>

#include "bindings/launcher/exit_codes.hpp"

namespace peri::launcher {
namespace {

// Lower is nearer to the cause.
int distance_from_cause(const RankEnd& end) {
  if (end.signal != 0) return 0;
  if (end.code == kExitPeerLost) return 2;
  return end.code == kExitTimeout ? 1 : 0;
}

std::string exit_code_text(int code) {
  for (const ExitCode& known : kExitCodes)
    if (known.code == code) return fmt::format("exit code {} ({})", code, known.meaning);
  return fmt::format("exit code {}", code);
}

template <class Condition>
std::vector<int> ranks_where(const std::vector<RankEnd>& ends, Condition condition) {
  std::vector<int> ranks;
  for (size_t rank = 0; rank < ends.size(); ++rank) {
    if (condition(ends[rank])) ranks.push_back(static_cast<int>(rank));
  }
  return ranks;
}

std::string named(const std::vector<int>& ranks) {
  return (ranks.size() == 1 ? "rank " : "ranks ") + ranks_to_string(ranks);
}

}  // namespace

std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name ? std::string("SIG") + name : fmt::format("signal {}", signal);
}

std::optional<int> first_cause(const std::vector<RankEnd>& ends) {
  std::optional<int> cause;
  auto before = [](const RankEnd& a, const RankEnd& b) {
    return std::pair(distance_from_cause(a), a.at) < std::pair(distance_from_cause(b), b.at);
  };
  for (size_t rank = 0; rank < ends.size(); ++rank) {
    if (ends[rank].code == 0 || ends[rank].by_launcher) continue;
    if (!cause || before(ends[rank], ends[*cause])) cause = static_cast<int>(rank);
  }
  return cause;
}

std::string failure_report(const std::vector<RankEnd>& ends, int cause, const RankOutput::Tail& tail) {
  const RankEnd& end = ends[cause];
  if (ends.size() == 1 && end.signal == 0) return {};
  std::string report;
  auto same =
      ranks_where(ends, [&](const RankEnd& other) { return other.code == end.code && !other.by_launcher; });
  if (end.signal != 0) {
    report = fmt::format("peri: rank {} was killed by {}", cause, signal_name(end.signal));
  } else if (same.size() == ends.size()) {
    report = fmt::format("peri: all {} ranks ended with {}", ends.size(), exit_code_text(end.code));
  } else {
    report = fmt::format("peri: rank {} ended with {}", cause, exit_code_text(end.code));
  }
  // A rank that waited in vain or lost a peer is a witness; who was stopped, or had gone home early, is the
  // cause.
  if (distance_from_cause(end) > 0) {
    auto stopped = ranks_where(ends, [](const RankEnd& other) { return other.stopped_by != 0; });
    auto finished = ranks_where(ends, [](const RankEnd& other) { return other.code == 0; });
    if (!stopped.empty()) {
      report = fmt::format("peri: {} {} stopped by {}, and rank {} ended with {}", named(stopped),
                           stopped.size() == 1 ? "was" : "were",
                           signal_name(ends[stopped.front()].stopped_by), cause, exit_code_text(end.code));
    } else if (!finished.empty()) {
      report += fmt::format("; {} had already finished", named(finished));
    }
  }
  report += '\n';
  auto killed =
      ranks_where(ends, [](const RankEnd& other) { return other.by_launcher && other.stopped_by == 0; });
  if (!killed.empty())
    report +=
        fmt::format("peri: {} did not end within a second after that and had to be stopped\n", named(killed));
  if (tail.said_nothing && end.signal == 0)
    report += fmt::format("peri: rank {} wrote nothing to stderr\n", cause);
  if (!tail.scrolled_away.empty()) {
    report += fmt::format("peri: the last lines rank {} wrote to stderr:\n", cause);
    for (const std::string& line : tail.scrolled_away) report += "  | " + line + "\n";
  }
  return report;
}

}  // namespace peri::launcher
