// Reads the environment; the only place in Perilune that calls getenv and setenv.
#include "core/env.hpp"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <limits>
#include <string_view>

#include <fmt/format.h>

namespace peri {

namespace {

class Variables {
 public:
  Variables(const std::function<const char*(const char*)>& get, std::vector<Error>& malformed)
      : get_(get), malformed_(malformed) {}

  std::optional<std::string> text(const char* name) const {
    const char* value = get_(name);
    return value && *value ? std::optional<std::string>(value) : std::nullopt;
  }

  // A finite number that is at least `least`; anything else is remembered as malformed.
  template <class T>
  std::optional<T> number(const char* name, T least, const char* what) const {
    const std::optional<std::string> value = text(name);
    if (!value) return std::nullopt;
    T parsed{};
    const char* end = value->data() + value->size();
    auto [stop, error] = std::from_chars(value->data(), end, parsed);
    if (error == std::errc() && stop == end && parsed >= least && parsed <= std::numeric_limits<T>::max())
      return parsed;
    refuse(name, *value, what);
    return std::nullopt;
  }

  std::optional<bool> flag(const char* name) const {
    const std::optional<std::string> value = text(name);
    if (!value) return std::nullopt;
    if (*value == "0" || *value == "1") return *value == "1";
    refuse(name, *value, "0 or 1");
    return std::nullopt;
  }

 private:
  void refuse(const char* name, const std::string& value, const char* what) const {
    malformed_.push_back(
        {Code::InvalidArgument,
         fmt::format("the environment variable {} must be {}, not \"{}\"", name, what, value)});
  }

  const std::function<const char*(const char*)>& get_;
  std::vector<Error>& malformed_;
};

}  // namespace

// In doubt it is forbidden: others read "off", "00" or "TRUE" in ways of their own.
std::string Environment::multicast_refusal() const {
  if (!multicast) return "PERI_MULTICAST is not 1";
  if (const std::string value = nccl_nvls_enable.value_or("1"); value != "1" && value != "2")
    return fmt::format("NCCL_NVLS_ENABLE is {}", value);
  if (const std::string value = torch_disable_multicast.value_or("0"); value != "0")
    return fmt::format("TORCH_SYMM_MEM_DISABLE_MULTICAST is {}", value);
  if (const std::string value = nvshmem_disable_nvls.value_or("0"); value != "0")
    return fmt::format("NVSHMEM_DISABLE_NVLS is {}", value);
  return "";
}

Environment read_environment(const std::function<const char*(const char*)>& get) {
  Environment env;
  const Variables variables(get, env.malformed);
  env.job = variables.text("PERI_JOB");
  env.rank = variables.number<int>("PERI_RANK", 0, "a rank, from 0");
  env.world_size = variables.number<int>("PERI_WORLD_SIZE", 1, "a count of ranks, at least 1");
  env.timeline = variables.number<int>("PERI_TIMELINE", 0, "a file descriptor");
  env.timeout =
      variables.number<double>("PERI_TIMEOUT", 1e-3, "seconds, at least 0.001").value_or(env.timeout);
  env.threads = variables.number<int>("PERI_THREADS", 0, "a count of threads").value_or(env.threads);
  env.check = variables.flag("PERI_CHECK").value_or(env.check);
  env.multicast = variables.flag("PERI_MULTICAST").value_or(env.multicast);
  env.p2p = variables.flag("PERI_P2P").value_or(env.p2p);
  env.nccl = variables.text("PERI_NCCL");
  env.xdg_cache_home = variables.text("XDG_CACHE_HOME");
  env.home = variables.text("HOME");
  env.nccl_nvls_enable = variables.text("NCCL_NVLS_ENABLE");
  env.torch_disable_multicast = variables.text("TORCH_SYMM_MEM_DISABLE_MULTICAST");
  env.nvshmem_disable_nvls = variables.text("NVSHMEM_DISABLE_NVLS");
  env.torchrun_rank = variables.text("RANK");
  env.torchrun_world_size = variables.text("WORLD_SIZE");
  env.torchrun_local_rank = variables.text("LOCAL_RANK");
  env.master_addr = variables.text("MASTER_ADDR");
  env.master_port = variables.text("MASTER_PORT");
  env.torchrun_run_id = variables.text("TORCHELASTIC_RUN_ID");
  env.ompi_rank = variables.text("OMPI_COMM_WORLD_RANK");
  env.ompi_world_size = variables.text("OMPI_COMM_WORLD_SIZE");
  env.ompi_local_rank = variables.text("OMPI_COMM_WORLD_LOCAL_RANK");
  env.ompi_job = variables.text("OMPI_MCA_ess_base_jobid");
  env.slurm_rank = variables.text("SLURM_PROCID");
  env.slurm_world_size = variables.text("SLURM_NTASKS");
  env.slurm_local_rank = variables.text("SLURM_LOCALID");
  env.slurm_job = variables.text("SLURM_JOB_ID");
  env.slurm_step = variables.text("SLURM_STEP_ID");
  if (env.rank && env.world_size && *env.rank >= *env.world_size)
    env.malformed.push_back(
        {Code::InvalidArgument,
         fmt::format("PERI_RANK is {}, and PERI_WORLD_SIZE only {}", *env.rank, *env.world_size)});
  return env;
}

const Environment& environment() {
  static const Environment env = read_environment([](const char* name) { return std::getenv(name); });
  return env;
}

std::vector<std::string> environment_variables() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable; ++variable) variables.emplace_back(*variable);
  return variables;
}

void keep_nccl_off_multicast() {
  if (!environment().allows_multicast()) setenv("NCCL_NVLS_ENABLE", "0", 1);
}

}  // namespace peri
