// See job.hpp.
#include "bindings/commands/job.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "bindings/files/timeline_file.hpp"
#include "bindings/launcher/exit_codes.hpp"
#include "bindings/launcher/launcher.hpp"
#include "bindings/launcher/machine.hpp"
#include "bindings/launcher/rank_environment.hpp"
#include "core/env.hpp"
#include "core/random_bits.hpp"
#include "core/thread.hpp"
#include "kernels/plugin/plugin.hpp"

namespace peri::commands {
namespace {

// Only what is asked for and cannot be had is an error; `auto` takes what is there. Looked for here, so that
// a job of many ranks says it once.
Status check_backend(const std::string& backend) {
  if (backend != "cuda") return {};
  const SignalBlock block;  // the driver starts threads of its own
  const auto found = kernels::describe_cuda();
  if (!found) return std::unexpected(found.error());
  return {};
}

// Under a launcher of ours a timeline outlives the ranks that it is about.
Result<int> launch_ranks(const StartOptions& options) {
  launcher::LaunchOptions launch_options;
  launch_options.ranks = options.ranks;
  launch_options.command = options.command;
  launch_options.timeout_s = options.timeout_s;
  launch_options.merge_identical = options.merge;
  if (options.trace.empty()) return launch(launch_options);
  const files::TimelineFile timeline = PERI_TRY(files::TimelineFile::create(options.trace, options.ranks));
  launch_options.timelines = timeline.descriptors();
  Result<int> code = launch(launch_options);
  const Status written = timeline.write();  // whatever has become of the job
  if (written) return code;
  if (code && *code == launcher::kExitOk) return std::unexpected(written.error());
  report(written.error());
  return code;
}

}  // namespace

kernels::JobOptions job_options(int rank, int world_size, std::string job, double timeout_s) {
  const int cores = launcher::usable_cores();
  kernels::JobOptions options;
  options.rank = rank;
  options.world_size = world_size;
  options.job = std::move(job);
  options.timeout_s = timeout_s;
  options.threads = environment().threads > 0 ? environment().threads : std::max(1, cores / world_size);
  // Spinning pays only while everybody has a core: as many cores online as threads in all, and either no
  // limit on this process below that, or a pinned share of its own.
  const int online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)),
            allowed = static_cast<int>(launcher::allowed_cores().size());
  const int64_t wanted = int64_t{options.threads} * world_size;
  options.may_spin =
      wanted <= online && (wanted <= cores || (allowed < online && options.threads <= allowed));
  return options;
}

Result<int> on_every_rank(const StartOptions& options,
                          const std::function<Result<int>(const kernels::JobOptions&)>& rank_main) {
  PERI_TRY(check_backend(options.backend));
  for (const Error& error : environment().malformed) return std::unexpected(error);
  if (auto rank = PERI_TRY(launcher::rank_environment(environment()))) {
    kernels::JobOptions job = job_options(rank->rank, rank->world_size, rank->job, options.timeout_s);
    job.local_rank = rank->local_rank;
    return rank_main(job);
  }
  if (options.ranks != 1 || !options.trace.empty()) return launch_ranks(options);
  return rank_main(job_options(0, 1, fmt::format("{:016x}", PERI_TRY(random_bits())), options.timeout_s));
}

int report(const Error& error) {
  fmt::print(stderr, "peri: {}\n", error.to_string());
  return error.code == Code::InvalidArgument || error.code == Code::NotFound
             ? launcher::kExitUsage
             : launcher::exit_code_for(error.code);
}

}  // namespace peri::commands
