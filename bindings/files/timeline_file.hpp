// Where the ranks' parts of a timeline lie while a job runs, and how they become one file: each rank writes
// to memory without a name that whoever started it holds, so that what a killed rank saw is kept and nothing
// is left behind when all are killed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/env.hpp"
#include "core/error.hpp"
#include "kernels/os/descriptor.hpp"
#include "kernels/timeline/timeline.hpp"

namespace peri::files {

class TimelineFile {
 public:
  // IoError if the file could not be written now; one that is there is replaced by `write`.
  static Result<TimelineFile> create(const std::string& path, int parts);
  std::vector<int> descriptors() const;  // of the parts
  Status write() const;                  // nothing, if no rank has begun

 private:
  std::string path_;
  std::vector<kernels::os::Fd> parts_;
};

// Where this rank's events go: to the part that `peri run` keeps for it; without one (mpirun, srun,
// torchrun), to a file of its own, `path` with the rank's number after it.
Result<std::unique_ptr<kernels::TimelineSink>> rank_timeline(const std::string& path, int rank,
                                                             const Environment& environment);

}  // namespace peri::files
