// Starts one rank as a child process that cannot outlive the launcher, and ends it with everything it
// started.
#pragma once

#include <signal.h>

#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "kernels/os/descriptor.hpp"

namespace peri::launcher {

struct RankStart {
  // argv; command[0] is a path, not looked up.
  std::vector<std::string> command;
  // "NAME=value", all of it.
  std::vector<std::string> environment;
  // To run on; empty: any.
  std::vector<int> cores;
  // A descriptor that stays open in it.
  int inherited = -1;
  // Else /dev/null.
  bool inherit_stdin = false;
  // Signals from the terminal do not reach it, and it is ended with its children.
  bool own_process_group = true;
  // That it begins with.
  sigset_t signal_mask;
};

// How a child's end is told: an exit code, or the signal that killed it.
struct ExitStatus {
  int code = 0;
  int signal = 0;
};

class RankProcess {
 public:
  // IoError if the program cannot be started or the system has no process or descriptor left.
  static Result<RankProcess> start(const RankStart& start);
  RankProcess(RankProcess&&) = default;
  RankProcess& operator=(RankProcess&&) = delete;
  ~RankProcess();  // kills and reaps what still runs

  // Readable when the process has ended.
  int pid_descriptor() const { return pid_descriptor_.get(); }
  // Ends of pipes, non-blocking; reset when the rank has closed its side.
  kernels::os::Fd out;
  kernels::os::Fd err;

  bool running() const { return pid_descriptor_.valid(); }
  void signal(int signal_number);
  // To it and to what it started, if it has its own process group.
  void kill();
  // The signal that has stopped it (SIGSTOP, ...), if it stands still now.
  std::optional<int> stopped_by() const;
  // After pid_descriptor() has become readable. Processes that the rank left behind are killed.
  ExitStatus reap();

 private:
  RankProcess() = default;

  kernels::os::Fd pid_descriptor_;
  pid_t pid_ = -1;
  bool own_process_group_ = true;
};

}  // namespace peri::launcher
