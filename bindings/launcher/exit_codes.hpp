// How a rank process says why it ended, and what the launcher passes on to the shell. The launcher tells a
// first cause from its consequences by these codes, so a rank must use them; `peri help exit-codes` prints
// this table.
#pragma once

#include "core/error.hpp"

namespace peri::launcher {

inline constexpr int kExitOk = 0;
inline constexpr int kExitScriptError = 1;  // the script raised, or a call in it failed
inline constexpr int kExitUsage = 2;        // the command line is wrong; nothing was run
// Another rank is gone: a consequence, never reported as the cause. Far from what scripts pass to os.exit.
inline constexpr int kExitPeerLost = 113;
inline constexpr int kExitTimeout = 124;      // another rank did not arrive by the deadline
inline constexpr int kExitInterrupted = 130;  // Ctrl-C: 128 + SIGINT, as shells have it
// 128 + n: killed by signal n (the launcher's exit code; a rank does not return these by itself).

struct ExitCode {
  int code;
  const char* meaning;
};
inline constexpr ExitCode kExitCodes[] = {
    {kExitOk, "all went well"},  {kExitScriptError, "error in the script"},
    {kExitUsage, "wrong usage"}, {kExitPeerLost, "lost another rank"},
    {kExitTimeout, "timeout"},   {kExitInterrupted, "interrupted"}};

// What a rank process returns when its script ended with this error.
constexpr int exit_code_for(Code code) {
  if (code == Code::PeerLost) return kExitPeerLost;
  if (code == Code::Timeout) return kExitTimeout;
  if (code == Code::Interrupted) return kExitInterrupted;
  return kExitScriptError;
}

}  // namespace peri::launcher
