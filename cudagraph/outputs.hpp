// Where a call's outputs lie. Outputs belong to the caller, who may hold them as long as he likes, while a
// recording writes to fixed addresses. So there are several sets of blocks, each with its recordings: a call
// takes a set that nobody holds. When all are held, the contents of one move to blocks of the holders' own.
//
// The caller's language may collect late what it no longer uses, so there are more than two sets where they
// are cheap: small blocks, few calls to record. `has_free` is where it is asked to collect.
#pragma once

#include <memory>
#include <vector>

#include "core/error.hpp"
#include "cudagraph/storage.hpp"

namespace peri::cudagraph {

class Outputs {
 public:
  // What it refers to outlives it. `calls`: how many a recording of the plan holds.
  Outputs(const planner::Plan& plan, PlanStorage& storage, kernels::Backend& backend, int64_t calls);
  // Makes the first set.
  Status allocate() { return add_set(); }

  // Whether the next `choose` finds a set that nobody holds, or may make one.
  bool has_free() const { return sets_.size() < max_sets_ || find_free() < sets_.size(); }
  // The number of the set that the call writes; its blocks become the buffers'.
  Result<size_t> choose();
  // What the call has written, without the write-backs.
  std::vector<kernels::Tensor> take();

 private:
  // By output that keeps its address; two that share memory have one block.
  using Set = std::vector<std::shared_ptr<kernels::Storage>>;

  size_t find_free() const;
  Status add_set();
  Status move_contents(Set& set);

  const planner::Plan& plan_;
  PlanStorage& storage_;
  kernels::Backend& backend_;
  // One buffer for each block of a set.
  std::vector<BufferId> buffers_;
  // By output of the plan: its block in a set, or -1 if it has none.
  std::vector<int> block_of_;
  std::vector<Set> sets_;
  size_t max_sets_;
  size_t chosen_ = 0;
};

}  // namespace peri::cudagraph
