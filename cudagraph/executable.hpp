// Plan -> partitions -> Executable: what is called. Captured partitions are replayed with fixed addresses,
// the others run line by line; outputs are never overwritten while somebody holds them.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "cudagraph/partition.hpp"
#include "kernels/backend.hpp"
#include "planner/plan.hpp"

namespace peri::cudagraph {

class Executable {
 public:
  // Collective over the plan's comm groups: allocates comm buffers and everything else the plan asks for.
  static Result<std::unique_ptr<Executable>> create(planner::Plan plan, kernels::Backend& backend,
                                                    std::vector<kernels::Tensor> constants);
  ~Executable();

  // Inputs match the plan's types (the caller's cache guarantees it). Records at the first call and whenever
  // an address that a recording holds has changed, else replays. InvalidArgument if an input that is written
  // in place is not contiguous, or is also read as another input or as a constant. After an error the next
  // call starts anew; what inputs that are written in place hold is undefined.
  Result<std::vector<kernels::Tensor>> call(std::span<const kernels::Tensor> inputs);

  const planner::Plan& plan() const;
  const std::vector<Partition>& partitions() const;
  // Address of a plan's buffer (of an input: in the last call's recording), for tests of pointer stability;
  // nullptr if it has none.
  const std::byte* address(BufferId buffer) const;
  // The plan's statistics and: partitions, captured_partitions, hoisted_allocs, recordings, replays.
  std::map<std::string, double> statistics() const;

 private:
  struct Impl;
  explicit Executable(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace peri::cudagraph
