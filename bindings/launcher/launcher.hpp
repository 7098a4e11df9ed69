// Runs a job: N rank processes of one program on this machine, their output, their ends.
#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/types/units.hpp"

namespace peri::launcher {

inline constexpr int kMaxRanks = 1024;
// What a rank needs before it has made a single tensor (program, Lua state, signal pads); measured
// generously.
inline constexpr Bytes kBytesPerRank(32 << 20);

struct LaunchOptions {
  int ranks = 1;                     // 1 to kMaxRanks
  std::vector<std::string> command;  // argv of a rank: {"/proc/self/exe", "rank", ...}
  double timeout_s = 60;             // the ranks' deadline for each other, handed down as PERI_TIMEOUT
  std::vector<int> timelines = {};   // per rank, a descriptor that it inherits for its timeline
  bool merge_identical = false;      // show lines of stdout that all ranks wrote alike once; stderr always
};

// Starts the ranks, shows what they print (see output.hpp), and returns the job's exit code when all have
// ended: 0; the code of the rank that failed first (128 + n if signal n killed it; see failure.hpp); 128 + n
// after signal n to the launcher, 130 for Ctrl-C. When it returns, also with an Error, no process of the job
// is left.
//
// A rank finds in its environment PERI_JOB (128 random bits in hex), PERI_RANK, PERI_WORLD_SIZE,
// PERI_TIMEOUT, PERI_TIMELINE (if there are any); for the user's own tools RANK, WORLD_SIZE, LOCAL_RANK; and,
// unless the user has set them, PERI_THREADS, OMP_NUM_THREADS and OPENBLAS_NUM_THREADS = cores / ranks. It is
// pinned to its share of the cores when there is one for each rank. Rank 0 has the launcher's stdin, the
// others /dev/null.
//
// After the first failure the others have 1.2 s to end by themselves, then SIGTERM, and SIGKILL at 1.6 s. The
// first SIGINT, SIGTERM or SIGHUP is passed on, and the ranks have 1.5 s; the second kills them.
//
// Errors: InvalidArgument (ranks, command), OutOfMemory (ranks x kBytesPerRank), IoError (a rank cannot be
// started, or output cannot be written). Call it from the main thread: ranks die with the thread that started
// them.
Result<int> launch(const LaunchOptions& options);

// The check before the start: OutOfMemory if `ranks` do not fit into `available`.
Status check_memory(int ranks, Bytes available);

}  // namespace peri::launcher
