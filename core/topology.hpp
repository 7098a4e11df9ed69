// Where each rank of a job computes, and by what the members of a group can reach each other: what the
// planner chooses algorithms by, group by group. The same on all ranks.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/types/group.hpp"

namespace peri {

struct RankLocation {
  // Tells machines apart; empty: that of all ranks without one.
  std::string host;
  // The UUID of its GPU, whatever number the process knows it by; empty: the host's cores.
  std::string device;
  // Its process can use NCCL.
  bool nccl = false;
};

// What all members of a group have in common.
struct Reach {
  // Each maps the others' symmetric memory: of one host, between GPUs by P2P.
  bool memory = true;
  // NCCL connects them, which wants a GPU for each.
  bool nccl = false;
  // Some are on different hosts.
  bool network = false;
};

class Topology {
 public:
  // Ranks of one host that share memory, however many.
  Topology() = default;
  // One location per rank; `apart`: pairs of ranks of one host that cannot map each other's memory.
  Topology(std::vector<RankLocation> ranks, std::vector<std::pair<int, int>> apart)
      : ranks_(std::move(ranks)), apart_(std::move(apart)) {}

  Reach reach(const Group& group) const;
  // Two members that have one GPU; {-1, -1} if there are none.
  std::pair<int, int> sharing_device(const Group& group) const;
  // Two members that cannot map each other's memory; {-1, -1} if there are none.
  std::pair<int, int> apart(const Group& group) const;

 private:
  const RankLocation& at(int rank) const { return ranks_[rank]; }
  bool knows(const Group& group) const;

  std::vector<RankLocation> ranks_;
  std::vector<std::pair<int, int>> apart_;
};

}  // namespace peri
