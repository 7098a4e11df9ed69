// Where a call's outputs lie. Outputs belong to the caller, who may hold them as long as he likes. So there
// are several sets of blocks, and a call takes a set that nobody holds. When all are held, one is made free:
// - if recordings have fixed addresses, each set has its own, and the contents of a set move to blocks of the
//   holders' own;
// - if recordings follow blocks, one serves all sets, and the set gets other blocks.
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
  // The same, when the caller's language has collected: what is held now is in use, and will be held again.
  // So there may be more sets, up to a limit, where moving contents away at each call is the alternative.
  bool make_room();
  // A set is taken for the call: its blocks become the buffers'.
  Status choose();
  // What tells the recordings for the set from those for others: none does if recordings follow blocks.
  size_t recordings() const { return followed_ ? 0 : chosen_; }
  // What the call has written, without the write-backs.
  std::vector<kernels::Tensor> take();

  // Of all sets; and gives them up: who holds an output of one keeps its block.
  Bytes bytes() const { return std::ssize(sets_) * set_bytes_; }
  void release();

 private:
  // By output that keeps its address; two that share memory have one block.
  using Set = std::vector<std::shared_ptr<kernels::Storage>>;

  static bool is_free(const Set& set);
  // sets_.size() if there is none, or none near.
  size_t find_free() const;
  bool may_look_at_all() const { return 2 * calls_since_scan_ >= sets_.size(); }
  Status add_set();
  Status move_contents(Set& set);
  Status give_away(Set& set);

  const planner::Plan& plan_;
  PlanStorage& storage_;
  kernels::Backend& backend_;
  // One buffer for each block of a set.
  std::vector<BufferId> buffers_;
  // By output of the plan: its block in a set, or -1 if it has none.
  std::vector<int> block_of_;
  Bytes set_bytes_;
  std::vector<Set> sets_;
  bool followed_;
  size_t max_sets_ = 1, max_held_sets_ = 1;
  size_t chosen_ = 0;
  // Where the search for a free one has come to.
  size_t looked_at_ = 0;
  size_t calls_since_scan_ = 0;
};

}  // namespace peri::cudagraph
