// Which rank of which job this process is, as the launcher that started it says: `peri run`, torchrun, mpirun
// or srun.
#pragma once

#include <optional>
#include <string>

#include "core/env.hpp"
#include "core/error.hpp"

namespace peri::launcher {

struct RankEnvironment {
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;  // among the ranks of this host; equal to `rank` where the launcher does not say
  std::string job;  // the same for all ranks of a job and for no other job of this machine; at most 80 bytes
  std::string source;  // "peri run", "torchrun", "mpirun" or "srun", for messages
};

// Nothing if no launcher has started this process. If several have (`peri run` sets torchrun's variables for
// the user's tools; mpirun may itself use srun), the first in the order above names the job, and all must
// agree on rank and size: InvalidArgument otherwise, or if a value is no rank or count, or if a launcher set
// only a part of its variables.
//
// A launcher's variables count only with its name for the job: RANK alone could be anyone's, and a Slurm
// batch script has SLURM_PROCID without being a task.
Result<std::optional<RankEnvironment>> rank_environment(const Environment& env);

}  // namespace peri::launcher
