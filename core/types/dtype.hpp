// Element types, where a tensor lives, and the conversions of the 16-bit floats.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "core/error.hpp"

namespace peri {

enum class DType : uint8_t { f32, f16, bf16, i32, i64, u8, boolean };
inline constexpr int kDTypeCount = 7;

// Two kinds of memory exist on every backend: the host backend has both too, so that partitions behave the
// same.
enum class Place : uint8_t { device, host };

constexpr int64_t size_of(DType t) {
  switch (t) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::i64:
      return 8;
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  return 0;
}
constexpr bool is_float(DType t) {
  return t == DType::f32 || t == DType::f16 || t == DType::bf16;
}
constexpr bool is_integer(DType t) {
  return t == DType::i32 || t == DType::i64 || t == DType::u8;
}

const char* to_string(DType t);  // "f32", "f16", "bf16", "i32", "i64", "u8", "bool"
const char* to_string(Place p);  // "device", "host"
Result<DType> parse_dtype(std::string_view name);
Result<Place> parse_place(std::string_view name);

// Round to nearest even, as the hardware does; NaN stays NaN.
inline uint16_t f32_to_bf16(float f) {
  uint32_t u = std::bit_cast<uint32_t>(f);
  uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
  uint32_t quiet = (u >> 16) | 0x40u;
  return static_cast<uint16_t>((u & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
}
inline float bf16_to_f32(uint16_t h) {
  return std::bit_cast<float>(static_cast<uint32_t>(h) << 16);
}
uint16_t f32_to_f16(float f);
float f16_to_f32(uint16_t h);

// Whether a plain number can be an element of `t`: any for floats, which round it; whole numbers in range for
// integers; 0 and 1 for bool.
bool holds(DType t, double value);
// Of two dtypes the one that a tensor of the other is cast to with the least loss.
DType wider(DType a, DType b);

// What a value becomes when it is stored as `t` and read back; the identity for f32, and integers wrap to
// their width.
double round_to(DType t, double value);

}  // namespace peri
