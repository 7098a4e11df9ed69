// The environment variables that Perilune reads, all of them here and nowhere else, each with its default.
// What users read of them is `peri help environment` (bindings/manual/8_commands.txt).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace peri {

struct Environment {
  // Set by `peri run` for the ranks that it starts; a user does not set them. Default: not set.
  // PERI_JOB: the job's name, 128 random bits in hexadecimal.
  std::optional<std::string> job;
  // PERI_RANK: this rank, from 0.
  std::optional<int> rank;
  // PERI_WORLD_SIZE: how many ranks there are, at least 1.
  std::optional<int> world_size;
  // PERI_TIMELINE: the descriptor of the file for this rank's events.
  std::optional<int> timeline;

  // For the user.
  // PERI_TIMEOUT: seconds until an absent rank is given up, at least 0.001. Default: 60.
  double timeout = 60;
  // PERI_THREADS: threads of one rank. Default: 0, the machine's cores over its ranks.
  int threads = 0;
  // PERI_CHECK: 1 checks each call of a compiled function, see `peri help compile`. Default: 0.
  bool check = false;
  // PERI_MULTICAST: 1 allows NVLink multicast where nothing forbids it. Default: 0.
  bool multicast = false;
  // PERI_P2P: 0 treats GPUs as if none could reach another's memory, to try NCCL. Default: 1.
  bool p2p = true;
  // PERI_NCCL: the library's file. Default: libnccl.so.2, where it is found.
  std::optional<std::string> nccl;

  // Where a user's files belong. Default: not set.
  // XDG_CACHE_HOME: its folder perilune holds compiled device code.
  std::optional<std::string> xdg_cache_home;
  // HOME: else its folder .cache/perilune does.
  std::optional<std::string> home;

  // Others' switches that forbid NVLink multicast. Default: not set.
  std::optional<std::string> nccl_nvls_enable;         // NCCL_NVLS_ENABLE: all but 1 and 2 forbid
  std::optional<std::string> torch_disable_multicast;  // TORCH_SYMM_MEM_DISABLE_MULTICAST: all but 0 forbid
  std::optional<std::string> nvshmem_disable_nvls;     // NVSHMEM_DISABLE_NVLS: all but 0 forbid

  // Other launchers' variables, as they stand: a rank takes its place from the first launcher that it finds.
  std::optional<std::string> torchrun_rank;        // RANK
  std::optional<std::string> torchrun_world_size;  // WORLD_SIZE
  std::optional<std::string> torchrun_local_rank;  // LOCAL_RANK
  std::optional<std::string> master_addr;          // MASTER_ADDR
  std::optional<std::string> master_port;          // MASTER_PORT
  std::optional<std::string> torchrun_run_id;      // TORCHELASTIC_RUN_ID
  std::optional<std::string> ompi_rank;            // OMPI_COMM_WORLD_RANK
  std::optional<std::string> ompi_world_size;      // OMPI_COMM_WORLD_SIZE
  std::optional<std::string> ompi_local_rank;      // OMPI_COMM_WORLD_LOCAL_RANK
  std::optional<std::string> ompi_job;             // OMPI_MCA_ess_base_jobid
  std::optional<std::string> slurm_rank;           // SLURM_PROCID
  std::optional<std::string> slurm_world_size;     // SLURM_NTASKS
  std::optional<std::string> slurm_local_rank;     // SLURM_LOCALID
  std::optional<std::string> slurm_job;            // SLURM_JOB_ID
  std::optional<std::string> slurm_step;           // SLURM_STEP_ID

  // One per value that could not be read and was left at its default; the program refuses to start with any.
  std::vector<Error> malformed;

  // Why NVLink multicast may not be used, whatever the device has; empty if it is asked for and nobody
  // forbids it.
  std::string multicast_refusal() const;
  bool allows_multicast() const { return multicast_refusal().empty(); }
};

// `get` is std::getenv, or a test's: null where a variable is not set. An empty value counts as not set.
Environment read_environment(const std::function<const char*(const char*)>& get);

// This process's environment as it was at the first call.
const Environment& environment();

// All of it, "NAME=value" each, to be handed on to other processes.
std::vector<std::string> environment_variables();

// Unless multicast is allowed, tells NCCL to leave it alone too: sets NCCL_NVLS_ENABLE=0 in this process's
// environment. Called before NCCL is loaded and before threads are started, which might read it meanwhile.
void keep_nccl_off_multicast();

}  // namespace peri
