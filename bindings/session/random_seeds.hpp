// The seeds of random tensors for which a script names none: a sequence that (seed, rank) decides.
#pragma once

#include <cstdint>

#include "core/hash.hpp"

namespace peri::session {

class RandomSeeds {
 public:
  RandomSeeds(int64_t seed, int rank)
      : start_(Hash().mix(static_cast<uint64_t>(seed)).mix(static_cast<uint64_t>(rank))) {}

  // Differs from all others of this sequence, and exactly a Lua number: at least 0 and below 2^53.
  int64_t next() {
    constexpr uint64_t kExact = (uint64_t{1} << 53) - 1;
    return static_cast<int64_t>(Hash(start_).mix(++drawn_).value() & kExact);
  }

 private:
  Hash start_;
  uint64_t drawn_ = 0;
};

}  // namespace peri::session
