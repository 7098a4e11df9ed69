// Bytes of memory for check_plan. Sizes come from whatever text a plan was read from, so products may wrap.
#include "planner/check/bytes.hpp"

#include <algorithm>
#include <vector>

namespace peri::planner::check {

std::optional<Interval> extent(const View& view, Elements elements, DType dtype) {
  bool wraps = view.shape.rank() != view.strides.rank() || view.offset < Elements(), none = false;
  int64_t last = view.offset.count();
  for (int i = 0; !wraps && i < view.shape.rank(); ++i) {
    int64_t span = 0;
    wraps = view.shape[i] < 0 || view.strides[i] < 0;
    if (view.shape[i] > 0)
      wraps = wraps || __builtin_mul_overflow(view.shape[i] - 1, view.strides[i], &span) ||
              __builtin_add_overflow(last, span, &last);
    none = none || view.shape[i] == 0;
  }
  if (wraps || view.offset > elements || (!none && Elements(last) >= elements)) return std::nullopt;
  return Interval{bytes_of(view.offset, dtype), bytes_of(none ? view.offset : Elements(last + 1), dtype)};
}

bool covers(const View& view, Elements elements) {
  std::vector<std::pair<int64_t, int64_t>> dims;  // (stride, size)
  for (int i = 0; i < view.shape.rank(); ++i) {
    if (view.shape[i] == 0) return elements == Elements();
    if (view.shape[i] != 1) dims.emplace_back(view.strides[i], view.shape[i]);
  }
  std::ranges::sort(dims);
  int64_t reached = 1;
  for (auto [stride, size] : dims)
    if (stride != reached || __builtin_mul_overflow(reached, size, &reached)) return false;
  return view.offset == Elements() && Elements(reached) == elements;
}

void Contents::cut(Bytes at) {
  auto piece = pieces_.upper_bound(at);
  if (piece == pieces_.begin()) return;
  --piece;
  if (piece->first == at || piece->second.end <= at) return;
  pieces_.emplace(at, piece->second);
  piece->second.end = at;
}

void Contents::clear(const Interval& bytes) {
  if (bytes.empty()) return;
  cut(bytes.begin);
  cut(bytes.end);
  pieces_.erase(pieces_.lower_bound(bytes.begin), pieces_.lower_bound(bytes.end));
}

void Contents::put(const Interval& bytes, ValueId value) {
  if (bytes.empty()) return;
  clear(bytes);
  pieces_.emplace(bytes.begin, Piece{bytes.end, value});
}

void Contents::replace(const Interval& bytes, ValueId from, ValueId to) {
  cut(bytes.begin);
  cut(bytes.end);
  for (auto piece = pieces_.lower_bound(bytes.begin); piece != pieces_.lower_bound(bytes.end); ++piece)
    if (piece->second.value == from) piece->second.value = to;
}

bool Contents::hold(const Interval& bytes, ValueId value) const {
  Bytes at = bytes.begin;
  for (auto piece = pieces_.upper_bound(at); at < bytes.end; ++piece) {
    if (piece == pieces_.begin()) return false;
    const auto& [begin, found] = *std::prev(piece);
    if (begin > at || found.end <= at || found.value != value) return false;
    at = found.end;
    if (piece == pieces_.end()) break;
  }
  return at >= bytes.end;
}

ValueId Contents::first(const Interval& bytes) const {
  auto piece = pieces_.upper_bound(bytes.begin);
  if (piece != pieces_.begin() && std::prev(piece)->second.end > bytes.begin) --piece;
  return piece == pieces_.end() || piece->first >= bytes.end ? ValueId() : piece->second.value;
}

}  // namespace peri::planner::check
