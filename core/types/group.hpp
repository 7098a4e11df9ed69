// A group: an ordered set of global ranks (0-based) that communicate. Its identity is its members.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

namespace peri {

struct Group {
  std::vector<int> ranks;
  int size() const { return static_cast<int>(ranks.size()); }
  // Position of a global rank in the group, or -1.
  int index_of(int rank) const {
    auto it = std::find(ranks.begin(), ranks.end(), rank);
    return it == ranks.end() ? -1 : static_cast<int>(it - ranks.begin());
  }
  bool operator==(const Group&) const = default;
  auto operator<=>(const Group&) const = default;
  std::string to_string() const;  // "{0,1,2}"
};

Group world_group(int world_size);

}  // namespace peri
