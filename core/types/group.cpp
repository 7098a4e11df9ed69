// How a group prints, what errors say of it, and the group of all ranks.
#include "core/types/group.hpp"

#include <numeric>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace peri {

std::string Group::to_string() const {
  return fmt::format("{{{}}}", fmt::join(ranks, ","));
}

Group world_group(int world_size) {
  Group group;
  group.ranks.resize(static_cast<size_t>(world_size));
  std::iota(group.ranks.begin(), group.ranks.end(), 0);
  return group;
}

std::string not_in_group(const Group& group, int64_t rank, std::string_view role) {
  return fmt::format("{} {} is not in group {}", role, rank, group.to_string());
}

}  // namespace peri
