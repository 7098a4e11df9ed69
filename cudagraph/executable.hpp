// Plan -> partitions -> Executable: what is called. Captured partitions are replayed with fixed addresses,
// the others run line by line; outputs are never overwritten while somebody holds them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "cudagraph/inputs.hpp"
#include "cudagraph/outputs.hpp"
#include "cudagraph/partition.hpp"
#include "cudagraph/recordings.hpp"
#include "cudagraph/storage.hpp"
#include "kernels/backend.hpp"
#include "planner/plan.hpp"

namespace peri::cudagraph {

class Executable {
 public:
  // Collective over the plan's comm groups: makes sure that all memory is there that the plan asks for.
  // `memory` outlives it.
  static Result<std::unique_ptr<Executable>> create(planner::Plan plan, SharedMemory& memory,
                                                    std::vector<kernels::Tensor> constants);

  // Inputs match the plan's types (the caller's cache guarantees it). Records at the first call and whenever
  // an address that a recording holds has changed, else replays. InvalidArgument if an input that is written
  // in place is not contiguous, or is also read as another input or as a constant. After an error the next
  // call starts anew; what inputs that are written in place hold is undefined.
  Result<std::vector<kernels::Tensor>> call(InputTensors inputs);
  Result<std::vector<kernels::Tensor>> call(std::span<const kernels::Tensor> inputs);

  // From here on each call checks the ids and positions that lines which are not captured look up
  // (Policy::check_positions): InvalidArgument, with op and line, for one that is out of range.
  void check_positions() { checks_positions_ = true; }

  // Whether the next call writes its outputs where nobody holds any. If not, the contents of earlier ones are
  // copied, which the caller may avoid by collecting what it no longer uses.
  bool has_free_outputs() const { return outputs_.has_free(); }
  // The same after that; there may be more sets of outputs then.
  bool make_room_for_outputs() { return outputs_.make_room(); }

  // Memory that it keeps between its calls and shares with no other: for outputs, and copies of inputs.
  Bytes kept_bytes() const { return outputs_.bytes() + inputs_.bytes(); }
  // Gives that up. Outputs that somebody holds stay as they are. The next call allocates it again.
  void release();
  // How much the plans of one function may keep together. On GPUs what is given up is recorded again, so
  // there it is more.
  Bytes max_kept_bytes() const { return Bytes(backend_.follows_blocks() ? 16 << 20 : 256 << 20); }

  const planner::Plan& plan() const { return plan_; }
  const std::vector<Partition>& partitions() const { return partitions_; }
  // Address of a plan's buffer (of an input or output: in the last call), for tests of pointer stability;
  // nullptr if it has none.
  const std::byte* address(BufferId buffer) const;
  // The plan's statistics and: partitions, captured_partitions, hoisted_allocs, recordings, replays.
  std::map<std::string, double> statistics() const;

 private:
  Executable(planner::Plan plan, SharedMemory& memory, std::vector<kernels::Tensor> constants);

  Status run(InputTensors inputs);
  Result<const RecordedCall*> recording_for(InputTensors inputs);
  Result<RecordedCall> record();
  Status run_lines(const Partition& partition);
  Status run_line(const planner::Line& line);
  Status check_positions(const planner::KernelLine& line) const;
  std::optional<kernels::ProgramStep> step_of(const planner::Line& line) const;
  std::span<const planner::PlanLine> lines_of(const Partition& partition) const;

  planner::Plan plan_;
  kernels::Backend& backend_;
  std::vector<Partition> partitions_;
  PlanStorage storage_;
  Inputs inputs_;
  Outputs outputs_;
  Recordings recordings_;
  bool checks_positions_ = false;
  uint32_t generation_ = 0;  // of the job, in which they were made
  int64_t recorded_ = 0, calls_ = 0;
};

}  // namespace peri::cudagraph
