// A group: an ordered set of global ranks (0-based) that communicate. Its identity is its members.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
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
  // Whether all members of `other` are members.
  bool contains(const Group& other) const {
    return std::ranges::all_of(other.ranks, [this](int rank) { return index_of(rank) >= 0; });
  }
  bool operator==(const Group&) const = default;
  auto operator<=>(const Group&) const = default;
  std::string to_string() const;  // "{0,1,2}"
};

Group world_group(int world_size);

// "rank 3 is not in group {0,1}": what every error says of a rank that is no member. `role`: "rank", "root",
// "peer".
std::string not_in_group(const Group& group, int64_t rank, std::string_view role = "rank");

}  // namespace peri
