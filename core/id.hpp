// Typed indices: a store owns, an Id refers. Explicit, equality only, prints with its label.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace peri {

template <class Tag>
struct Id {
  int32_t index;
  explicit constexpr Id(int32_t i) : index(i) {}
  constexpr Id() : index(-1) {}
  constexpr bool valid() const { return index >= 0; }
  static constexpr Id none() { return Id(-1); }
  friend constexpr bool operator==(Id, Id) = default;
  friend constexpr auto operator<=>(Id, Id) = default;  // only so that ids can be keys of ordered containers
};

struct NodeTag {};
struct BufferTag {};
using NodeId = Id<NodeTag>;      // a node of a Graph and the one value it makes: printed "%7"
using BufferId = Id<BufferTag>;  // a named buffer of a Plan: printed "buf7"

inline std::string to_string(NodeId id) {
  return "%" + std::to_string(id.index);
}

}  // namespace peri

template <class Tag>
struct std::hash<peri::Id<Tag>> {
  size_t operator()(peri::Id<Tag> id) const { return std::hash<int32_t>()(id.index); }
};
