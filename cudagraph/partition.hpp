// Partitions: runs of plan lines that are captured as one graph, or that cannot be, each with its signature.
#pragma once

#include <string>
#include <vector>

#include "planner/plan.hpp"

namespace peri::cudagraph {

struct Signature {
  std::vector<BufferId> input_buffers;   // read here, written before (or graph inputs)
  std::vector<BufferId> output_buffers;  // written here, needed later or returned
  std::vector<BufferId> constants;
  std::vector<BufferId>
      hoisted_allocations;  // allocated by this captured partition for an uncaptured one after it (S5)
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
