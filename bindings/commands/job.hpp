// Whether this process is a rank of a job or starts one, and what a job is started with.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "kernels/backend.hpp"

namespace peri::commands {

struct StartOptions {
  int ranks = 1;
  double timeout_s = 60;
  // Print what all ranks print alike once.
  bool merge = false;
  // Where the timeline goes; empty: there is none.
  std::string trace;
  // "host", "cuda" or "auto"
  std::string backend = "auto";
  // argv of a rank
  std::vector<std::string> command;
};

// `rank_main` on every rank of the job: in this process if a launcher started it or one rank is all, else in
// new ones. Gives the exit code.
Result<int> on_every_rank(const StartOptions& options,
                          const std::function<Result<int>(const kernels::JobOptions&)>& rank_main);

// How many threads and whether to spin, from cores and ranks; rank, size and job as given.
kernels::JobOptions job_options(int rank, int world_size, std::string job, double timeout_s);

// "peri: " and the error on stderr; the exit code for it.
int report(const Error& error);

}  // namespace peri::commands
