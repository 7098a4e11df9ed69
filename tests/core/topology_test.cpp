// What the members of a group share, from where they are.
#include <catch2/catch.hpp>

#include "core/topology.hpp"

using namespace peri;

TEST_CASE("ranks of one host share its memory, and nobody has NCCL") {
  const Reach reach = Topology().reach(world_group(4));
  CHECK((reach.memory && !reach.nccl && !reach.network));
}

TEST_CASE("a group is asked by itself") {
  // Two hosts of three GPUs; ranks 1 and 2 share one, 0 and 3 have no P2P with 2.
  const Topology topology({{"a", "gpu-0", true},
                           {"a", "gpu-1", true},
                           {"a", "gpu-1", true},
                           {"a", "gpu-2", true},
                           {"b", "gpu-0", true},
                           {"b", "gpu-1", false}},
                          {{0, 2}, {2, 3}});
  auto reach = [&](Group group) { return topology.reach(group); };
  CHECK((reach({{0, 1}}).memory && reach({{0, 1}}).nccl && !reach({{0, 1}}).network));
  CHECK((reach({{1, 2}}).memory && !reach({{1, 2}}).nccl));                             // one GPU for both
  CHECK((!reach({{2, 0}}).memory && reach({{2, 0}}).nccl));                             // no P2P
  CHECK((!reach({{0, 4}}).memory && reach({{0, 4}}).nccl && reach({{0, 4}}).network));  // a name on two hosts
  CHECK((reach({{4, 5}}).memory && !reach({{4, 5}}).nccl));                             // one without NCCL
  CHECK(topology.sharing_device({{3, 2, 1}}) == std::pair(1, 2));
  CHECK(topology.apart({{0, 1, 2, 3}}) == std::pair(0, 2));
  CHECK(topology.apart({{0, 4}}) == std::pair(0, 4));
  CHECK(reach({{0}}).memory);
}
