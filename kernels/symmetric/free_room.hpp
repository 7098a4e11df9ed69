// What is free in a block of memory that all members of a group have alike, and what is free for all of them:
// members free when they like, so they compare before they take.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/error.hpp"

namespace peri::kernels {

class FreeRoom {
 public:
  void add(int64_t offset, int64_t bytes);
  // The room is free.
  void take(int64_t offset, int64_t bytes);
  // "0+4096 8192+1024": for the other members.
  std::string text() const;
  static Result<FreeRoom> parse(const std::string& text);
  FreeRoom common_with(const FreeRoom& other) const;
  // The smallest offset with room for `bytes`; -1 if there is none.
  int64_t first_fit(int64_t bytes) const;

 private:
  std::map<int64_t, int64_t> room_;  // offset -> bytes; no two touch
};

}  // namespace peri::kernels
