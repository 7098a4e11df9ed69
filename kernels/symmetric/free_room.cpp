#include "kernels/symmetric/free_room.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

namespace peri::kernels {

void FreeRoom::add(int64_t offset, int64_t bytes) {
  auto next = room_.lower_bound(offset);
  if (next != room_.end() && next->first == offset + bytes) {
    bytes += next->second;
    next = room_.erase(next);
  }
  if (next != room_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += bytes;
      return;
    }
  }
  room_[offset] = bytes;
}

void FreeRoom::take(int64_t offset, int64_t bytes) {
  const auto room = std::prev(room_.upper_bound(offset));
  const int64_t begin = room->first, end = begin + room->second;
  room_.erase(room);
  if (begin < offset) room_[begin] = offset - begin;
  if (offset + bytes < end) room_[offset + bytes] = end - offset - bytes;
}

std::string FreeRoom::text() const {
  std::string text;
  for (const auto& [offset, bytes] : room_) text += fmt::format("{}+{} ", offset, bytes);
  return text;
}

Result<FreeRoom> FreeRoom::parse(const std::string& text) {
  FreeRoom free;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    int64_t offset = 0, bytes = 0;
    const auto plus = std::from_chars(at, end, offset);
    if (plus.ec != std::errc() || plus.ptr == end || *plus.ptr != '+')
      return fail(Code::RankMismatch, "a peer's free symmetric memory cannot be read");
    const auto space = std::from_chars(plus.ptr + 1, end, bytes);
    if (space.ec != std::errc() || space.ptr == end || *space.ptr != ' ')
      return fail(Code::RankMismatch, "a peer's free symmetric memory cannot be read");
    free.room_[offset] = bytes;
    at = space.ptr + 1;
  }
  return free;
}

FreeRoom FreeRoom::common_with(const FreeRoom& other) const {
  FreeRoom common;
  auto a = room_.begin(), b = other.room_.begin();
  while (a != room_.end() && b != other.room_.end()) {
    const int64_t begin = std::max(a->first, b->first), a_end = a->first + a->second,
                  b_end = b->first + b->second, end = std::min(a_end, b_end);
    if (begin < end) common.room_[begin] = end - begin;
    a_end < b_end ? ++a : ++b;
  }
  return common;
}

int64_t FreeRoom::first_fit(int64_t bytes) const {
  for (const auto& [offset, room] : room_)
    if (room >= bytes) return offset;
  return -1;
}

}  // namespace peri::kernels
