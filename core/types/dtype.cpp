// Names of dtypes and places, the f16 conversions, and what storing a value in a dtype does to it.
#include "core/types/dtype.hpp"

#include <array>
#include <cmath>
#include <string>
#include <tuple>

namespace peri {

namespace {
constexpr std::array<const char*, kDTypeCount> kDTypeNames = {"f32", "f16", "bf16", "i32",
                                                              "i64", "u8",  "bool"};
}

const char* to_string(DType t) {
  return kDTypeNames[static_cast<size_t>(t)];
}
const char* to_string(Place p) {
  return p == Place::device ? "device" : "host";
}

Result<DType> parse_dtype(std::string_view name) {
  for (int i = 0; i < kDTypeCount; ++i)
    if (name == kDTypeNames[i]) return static_cast<DType>(i);
  return fail(Code::NotFound, "no such dtype: " + std::string(name), {},
              "the dtypes are f32, f16, bf16, i32, i64, u8 and bool");
}

Result<Place> parse_place(std::string_view name) {
  if (name == "device") return Place::device;
  if (name == "host") return Place::host;
  return fail(Code::NotFound, "no such place: " + std::string(name), {}, "the places are device and host");
}

uint16_t f32_to_f16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return sign | 0x7E00u | static_cast<uint16_t>((magnitude >> 13) & 0x1FFu);
  if (magnitude >= 0x477FF000u) return sign | 0x7C00u;  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the result is subnormal, a multiple of 2^-24: adding 0.5 lets the hardware round to that
    // multiple.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3F000000u);
  }
  const uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

float f16_to_f32(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  const uint32_t magnitude = h & 0x7FFFu;
  if (magnitude >= 0x7C00u) return std::bit_cast<float>(sign | 0x7F800000u | ((magnitude & 0x3FFu) << 13));
  if (magnitude >= 0x0400u) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f));
}

bool holds(DType t, double value) {
  auto whole_in = [&](double low, double end) {
    return value == std::trunc(value) && value >= low && value < end;
  };
  switch (t) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      return true;
    case DType::i32:
      return whole_in(-0x1p31, 0x1p31);
    case DType::i64:
      return whole_in(-0x1p63, 0x1p63);
    case DType::u8:
      return whole_in(0, 256);
    case DType::boolean:
      return whole_in(0, 2);
  }
  return false;
}

DType wider(DType a, DType b) {
  auto width = [](DType t) { return std::tuple(is_float(t), is_integer(t), size_of(t)); };
  return width(a) < width(b) ? b : a;
}

double round_to(DType t, double value) {
  auto wrap = [&](int bits, bool is_signed) {
    if (!std::isfinite(value)) return 0.0;
    const double range = std::ldexp(1.0, bits);
    double rest = std::fmod(std::trunc(value), range);
    if (is_signed && rest >= range / 2) rest -= range;
    if (is_signed && rest < -range / 2) rest += range;
    if (!is_signed && rest < 0) rest += range;
    return rest;
  };
  switch (t) {
    case DType::f32:
      return value;
    case DType::f16:
      return f16_to_f32(f32_to_f16(static_cast<float>(value)));
    case DType::bf16:
      return bf16_to_f32(f32_to_bf16(static_cast<float>(value)));
    case DType::i32:
      return wrap(32, true);
    case DType::i64:
      return wrap(64, true);
    case DType::u8:
      return wrap(8, false);
    case DType::boolean:
      return value != 0 ? 1 : 0;
  }
  return value;
}

}  // namespace peri
