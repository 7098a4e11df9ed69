// Bytes of memory for check_plan: intervals, and what lies in them. Shares no code with the passes.
#pragma once

#include <map>
#include <optional>

#include "planner/plan.hpp"

namespace peri::planner::check {

// [begin, end), from a pool's start; empty if end <= begin.
struct Interval {
  Bytes begin, end;
  bool empty() const { return end <= begin; }
  bool overlaps(const Interval& other) const {
    return !empty() && !other.empty() && begin < other.end && other.begin < end;
  }
  bool contains(const Interval& other) const { return begin <= other.begin && other.end <= end; }
};

// The bytes of its buffer between a window's first element and its last, or nothing if it is no window on
// `elements` elements: outside of them, with a negative step, or wrapped round.
std::optional<Interval> extent(const View& view, Elements elements, DType dtype);

// Whether the window reaches every one of `elements` elements exactly once, in whatever order.
bool covers(const View& view, Elements elements);

// A value: what its buffer held, as it was written the n-th time.
struct ValueId {
  BufferId buffer;
  int32_t version = 0;
  bool operator==(const ValueId&) const = default;
};

// Which value lies in which bytes of one pool.
class Contents {
 public:
  // What holds `from` in these bytes holds `to`.
  void replace(const Interval& bytes, ValueId from, ValueId to);
  void put(const Interval& bytes, ValueId value);
  void clear(const Interval& bytes);
  // Whether every byte is of `value`. An empty interval is of any.
  bool hold(const Interval& bytes, ValueId value) const;
  // What lies in the first of the bytes that hold anything; not valid if none does.
  ValueId first(const Interval& bytes) const;

 private:
  struct Piece {
    Bytes end;
    ValueId value;
  };
  // Ends the piece round `at` there and begins another.
  void cut(Bytes at);
  std::map<Bytes, Piece> pieces_;  // by begin; they do not overlap
};

}  // namespace peri::planner::check
