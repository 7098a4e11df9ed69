#include "core/topology.hpp"

#include <algorithm>

namespace peri {

// A group of ranks that nobody has told about is one of a plan for another machine: all of one host.
bool Topology::knows(const Group& group) const {
  return std::ranges::all_of(
      group.ranks, [&](int rank) { return rank >= 0 && static_cast<size_t>(rank) < ranks_.size(); });
}

std::pair<int, int> Topology::sharing_device(const Group& group) const {
  if (!knows(group)) return {-1, -1};
  for (int a : group.ranks)
    for (int b : group.ranks)
      if (a < b && !at(a).device.empty() && at(a).host == at(b).host && at(a).device == at(b).device)
        return {a, b};
  return {-1, -1};
}

std::pair<int, int> Topology::apart(const Group& group) const {
  if (!knows(group)) return {-1, -1};
  for (const auto& [a, b] : apart_)
    if (group.index_of(a) >= 0 && group.index_of(b) >= 0) return {a, b};
  for (int b : group.ranks)
    if (at(b).host != at(group.ranks[0]).host) return {group.ranks[0], b};
  return {-1, -1};
}

Reach Topology::reach(const Group& group) const {
  Reach reach{.memory = apart(group).first < 0};
  if (!knows(group) || group.ranks.empty()) return reach;
  const std::string& host = at(group.ranks[0]).host;
  reach.network = std::ranges::any_of(group.ranks, [&](int rank) { return at(rank).host != host; });
  reach.nccl = std::ranges::all_of(group.ranks, [&](int rank) { return at(rank).nccl; }) &&
               sharing_device(group).first < 0;
  return reach;
}

}  // namespace peri
