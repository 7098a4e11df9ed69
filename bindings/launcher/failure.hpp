// Which rank's end is the cause of a failed job, and how the launcher says so.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "bindings/launcher/output.hpp"

namespace peri::launcher {

// How one rank ended. `code` is what a shell would say: the exit code, or 128 + signal.
struct RankEnd {
  int code = 0;
  int signal = 0;      // that killed it, or 0
  int stopped_by = 0;  // it had been stopped by this signal (SIGSTOP, ...) and was killed by the launcher
  bool by_launcher = false;  // it ended after the launcher had told it to: no cause of anything
  std::chrono::steady_clock::time_point at;
};

// The rank to blame, or nothing if all ended well. A rank that failed by itself (its own error, or a signal)
// comes before one that waited in vain, that before one that lost a peer; among equals the earliest.
std::optional<int> first_cause(const std::vector<RankEnd>& ends);

// The lines for the user (each ends with a newline); `tail` is of the rank to blame. Empty for a rank alone
// that ended with an exit code: it has said itself what was wrong.
std::string failure_report(const std::vector<RankEnd>& ends, int cause, const RankOutput::Tail& tail);

// "SIGKILL", or "signal 77".
std::string signal_name(int signal);

}  // namespace peri::launcher
