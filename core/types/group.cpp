// How a group prints, and the group of everyone.
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

}  // namespace peri
