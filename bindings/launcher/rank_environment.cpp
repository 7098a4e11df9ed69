#include "bindings/launcher/rank_environment.hpp"

#include <fmt/core.h>

#include <charconv>
#include <limits>
#include <vector>

#include "bindings/launcher/launcher.hpp"
#include "core/hash.hpp"

namespace peri::launcher {
namespace {

using Text = std::optional<std::string>;

struct Variable {
  const char* name;
  Text value;
};

// One launcher's words for the same three things; an empty `job` means that it has not started this process.
struct Source {
  const char* name;
  Variable rank, world_size;
  Text local_rank;
  Text job;
};

Result<int> number(const Source& source, const Variable& variable, int least) {
  if (!variable.value)
    return fail(Code::InvalidArgument,
                fmt::format("{} started this process, but {} is not set", source.name, variable.name));
  int value = 0;
  const char* end = variable.value->data() + variable.value->size();
  auto [stop, error] = std::from_chars(variable.value->data(), end, value);
  if (error != std::errc() || stop != end || value < least)
    return fail(Code::InvalidArgument,
                fmt::format("the environment variable {} must be a number, at least {}, not \"{}\"",
                            variable.name, least, *variable.value));
  return value;
}

Result<RankEnvironment> read(const Source& source) {
  RankEnvironment place;
  place.rank = PERI_TRY(number(source, source.rank, 0));
  place.world_size = PERI_TRY(number(source, source.world_size, 1));
  place.local_rank =
      source.local_rank ? PERI_TRY(number(source, {"the local rank", source.local_rank}, 0)) : place.rank;
  if (place.world_size > kMaxRanks)
    return fail(Code::InvalidArgument, fmt::format("{} says there are {} ranks; at most {} can be",
                                                   source.name, place.world_size, kMaxRanks));
  place.job = *source.job;
  place.source = source.name;
  if (place.rank >= place.world_size)
    return fail(Code::InvalidArgument, fmt::format("{} says rank {} of {}: ranks count from 0", source.name,
                                                   place.rank, place.world_size));
  return place;
}

// Other launchers' names for a job are of any length and alphabet; ours must fit a socket address.
std::string job_name(const std::string& launcher, const std::string& theirs) {
  return fmt::format("{}-{:016x}", launcher, Hash().mix(theirs).value());
}

std::vector<Source> sources(const Environment& env) {
  auto text = [](const std::optional<int>& value) {
    return value ? Text(std::to_string(*value)) : std::nullopt;
  };
  std::vector<Source> list;
  list.push_back(
      {"peri run", {"PERI_RANK", text(env.rank)}, {"PERI_WORLD_SIZE", text(env.world_size)}, {}, env.job});

  // The run's id is often just "none"; the port of its store is what no two jobs of a machine share.
  Text torch_job;
  if (env.torchrun_run_id || (env.master_addr && env.master_port))
    torch_job = job_name("torchrun", env.torchrun_run_id.value_or("") + " " + env.master_addr.value_or("") +
                                         ":" + env.master_port.value_or(""));
  if (!env.torchrun_rank && !env.torchrun_world_size) torch_job.reset();  // MASTER_ADDR is also set by hand
  list.push_back({"torchrun",
                  {"RANK", env.torchrun_rank},
                  {"WORLD_SIZE", env.torchrun_world_size},
                  env.torchrun_local_rank,
                  torch_job});

  Text ompi_job = env.ompi_job;
  if (ompi_job) ompi_job = job_name("mpirun", *ompi_job);
  list.push_back({"mpirun",
                  {"OMPI_COMM_WORLD_RANK", env.ompi_rank},
                  {"OMPI_COMM_WORLD_SIZE", env.ompi_world_size},
                  env.ompi_local_rank,
                  ompi_job});

  Text slurm_job;
  if (env.slurm_job && env.slurm_step) slurm_job = job_name("srun", *env.slurm_job + "." + *env.slurm_step);
  list.push_back({"srun",
                  {"SLURM_PROCID", env.slurm_rank},
                  {"SLURM_NTASKS", env.slurm_world_size},
                  env.slurm_local_rank,
                  slurm_job});
  return list;
}

}  // namespace

Result<std::optional<RankEnvironment>> rank_environment(const Environment& env) {
  std::optional<RankEnvironment> chosen;
  for (const Source& source : sources(env)) {
    if (!source.job) continue;
    RankEnvironment place = PERI_TRY(read(source));
    if (!chosen) {
      chosen = place;
    } else if (place.rank != chosen->rank || place.world_size != chosen->world_size) {
      return fail(Code::InvalidArgument,
                  fmt::format("{} says this is rank {} of {}, and {} says rank {} of {}", chosen->source,
                              chosen->rank, chosen->world_size, place.source, place.rank, place.world_size),
                  {},
                  fmt::format("unset {} and {} if {} is not meant to start the ranks", source.rank.name,
                              source.world_size.name, source.name));
    }
  }
  return chosen;
}

}  // namespace peri::launcher
