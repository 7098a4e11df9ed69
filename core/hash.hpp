// FNV-1a: the hash of texts and keys that need no defence against an adversary. The same on all ranks.
#pragma once

#include <cstdint>
#include <string_view>

namespace peri {

class Hash {
 public:
  // One step per word, so that hashes of bytes and of words do not mix by accident.
  constexpr Hash& mix(uint64_t word) {
    value_ = (value_ ^ word) * 0x100000001B3u;
    return *this;
  }
  constexpr Hash& mix(std::string_view text) {
    for (char c : text) mix(static_cast<unsigned char>(c));
    return *this;
  }
  constexpr uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xCBF29CE484222325u;
};

}  // namespace peri
