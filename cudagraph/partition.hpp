// Partitions: runs of plan lines that are captured as one graph, or that cannot be, each with its signature.
#pragma once

#include <string>
#include <vector>

#include "planner/plan.hpp"

namespace peri::cudagraph {

struct Signature {
  // Read here, written before (or graph inputs).
  std::vector<BufferId> input_buffers;
  // Written here, needed later or returned.
  std::vector<BufferId> output_buffers;
  std::vector<BufferId> constants;
  // Allocated by this captured partition for an uncaptured one after it (S5 of planner/SYSTEMS.md).
  std::vector<BufferId> hoisted_allocations;
};

struct Partition {
  int first = 0, last = 0;  // lines [first, last)
  bool captured = true;
  std::string reason;  // why not captured; empty if it is
  Signature signature;
};

// Maximal runs of equal verdict. Allocation lines of out-variant outputs in an uncaptured partition move to
// the signature of the captured partition before it, if there is one.
std::vector<Partition> partition(const planner::Plan& plan);
std::string print(const std::vector<Partition>& partitions, const planner::Plan& plan);

}  // namespace peri::cudagraph
