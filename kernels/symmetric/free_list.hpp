// The free list of a block of memory that all members of a group have alike. Members free when they like, so
// they compare their lists before they allocate.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "core/error.hpp"

namespace peri::kernels {

class FreeList {
 public:
  void free(int64_t offset, int64_t bytes);
  // The range is free.
  void allocate(int64_t offset, int64_t bytes);
  // "0+4096 8192+1024": for the other members.
  std::string text() const;
  static Result<FreeList> parse(const std::string& text);
  FreeList common_with(const FreeList& other) const;
  // The smallest offset where `bytes` fit; -1 if there is none.
  int64_t first_fit(int64_t bytes) const;

 private:
  // Offset -> bytes; no two ranges touch.
  std::map<int64_t, int64_t> ranges_;
};

}  // namespace peri::kernels
