#include "kernels/symmetric/free_list.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

namespace peri::kernels {

void FreeList::free(int64_t offset, int64_t bytes) {
  auto next = ranges_.lower_bound(offset);
  if (next != ranges_.end() && next->first == offset + bytes) {
    bytes += next->second;
    next = ranges_.erase(next);
  }
  if (next != ranges_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += bytes;
      return;
    }
  }
  ranges_[offset] = bytes;
}

void FreeList::allocate(int64_t offset, int64_t bytes) {
  const auto range = std::prev(ranges_.upper_bound(offset));
  const int64_t begin = range->first, end = begin + range->second;
  ranges_.erase(range);
  if (begin < offset) ranges_[begin] = offset - begin;
  if (offset + bytes < end) ranges_[offset + bytes] = end - offset - bytes;
}

std::string FreeList::text() const {
  std::string text;
  for (const auto& [offset, bytes] : ranges_) text += fmt::format("{}+{} ", offset, bytes);
  return text;
}

Result<FreeList> FreeList::parse(const std::string& text) {
  FreeList list;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    int64_t offset = 0, bytes = 0;
    const auto plus = std::from_chars(at, end, offset);
    if (plus.ec != std::errc() || plus.ptr == end || *plus.ptr != '+')
      return fail(Code::RankMismatch, "a peer's free symmetric memory cannot be read");
    const auto space = std::from_chars(plus.ptr + 1, end, bytes);
    if (space.ec != std::errc() || space.ptr == end || *space.ptr != ' ')
      return fail(Code::RankMismatch, "a peer's free symmetric memory cannot be read");
    list.ranges_[offset] = bytes;
    at = space.ptr + 1;
  }
  return list;
}

FreeList FreeList::common_with(const FreeList& other) const {
  FreeList common;
  auto a = ranges_.begin(), b = other.ranges_.begin();
  while (a != ranges_.end() && b != other.ranges_.end()) {
    const int64_t begin = std::max(a->first, b->first), a_end = a->first + a->second,
                  b_end = b->first + b->second, end = std::min(a_end, b_end);
    if (begin < end) common.ranges_[begin] = end - begin;
    a_end < b_end ? ++a : ++b;
  }
  return common;
}

int64_t FreeList::first_fit(int64_t bytes) const {
  for (const auto& [offset, size] : ranges_)
    if (size >= bytes) return offset;
  return -1;
}

}  // namespace peri::kernels
