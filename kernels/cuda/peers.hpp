// Which GPU every rank of the job has, and so which ranks can reach each other's memory, which can use NCCL
// and which NVLink multicast. The ranks tell each other when they join, so that all of them decide alike.
#pragma once

#include <string>
#include <vector>

#include "core/topology.hpp"
#include "kernels/cuda/memory/device.hpp"
#include "kernels/job/control.hpp"

namespace peri::kernels::cuda {

class Peers {
 public:
  // Collective over the world.
  static Result<Peers> meet(job::Control& control, const Device& device);

  // Unsupported, naming two GPUs, if members of the group cannot map each other's memory.
  Status check_memory(const Group& group, const job::Operation& operation) const;
  // Unsupported, with the reason, if they cannot use NCCL.
  Status check_nccl(const Group& group, const job::Operation& operation) const;
  // Why a group does without NVLink multicast; empty if its members may use it. The same on all ranks.
  std::string multicast_refusal(const Group& group) const;
  const Topology& topology() const { return topology_; }

 private:
  struct Member {
    std::string gpu;        // its UUID, which tells GPUs apart whatever numbers processes know them by
    std::string label;      // "GPU 0 (NVIDIA H200)"
    bool p2p;               // may reach and be reached
    std::string multicast;  // why it uses no multicast; empty if it may
    std::string nccl;       // why it has no NCCL; empty if it has
  };
  std::vector<std::pair<int, int>> find_apart() const;
  std::string label(int rank) const;

  std::vector<Member> members_;  // by rank; empty in a world of one
  Topology topology_;
};

// Whether GPU `a` of those that this process sees can map the memory of `b`, both ways.
bool can_reach(int a, int b);
// Whether a GPU's memory can be passed on as a file descriptor, and mapped.
bool can_share(int gpu);

}  // namespace peri::kernels::cuda
