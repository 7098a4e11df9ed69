// Elements in memory and elements in registers. Kernels compute on tiles of registers: floats of any dtype as
// float, integers and bools as int64. A tile is loaded from strided memory, and rounded to a dtype as it is
// stored.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/types/dtype.hpp"
#include "core/types/scalar.hpp"

namespace peri::kernels::host {

// Registers per tile: small enough that a dozen tiles stay in L1.
inline constexpr int64_t kTile = 512;
inline constexpr int64_t kRegisterBytes = 8;  // the wider of the two

// count elements, `stride` elements apart (0 and negative too), to registers.
using LoadTile = void (*)(void* registers, const std::byte* memory, int64_t stride, int64_t count);
LoadTile load_tile(DType dtype);
// The reverse; rounds floats to nearest even, wraps integers.
using StoreTile = void (*)(const void* registers, std::byte* memory, int64_t stride, int64_t count);
StoreTile store_tile(DType dtype);
// Whether a contiguous array of dtype already is an array of registers.
constexpr bool is_register(DType dtype) {
  return dtype == DType::f32 || dtype == DType::i64;
}

// What register values become when they are stored as a dtype and loaded back; of floats to float dtypes and
// so on.
using RoundTile = void (*)(void* to, const void* from, int64_t count);
RoundTile round_tile(DType dtype);          // nullptr: nothing to do (f32, i64, bool)
RoundTile cast_tile(DType from, DType to);  // nullptr: the same registers

// f16 without branches, the same bits as core's f32_to_f16 and f16_to_f32.
PERI_SCALAR uint16_t to_f16(float f) {
  const uint32_t u = scalar::bits(f), sign = u >> 16 & 0x8000u, magnitude = u & 0x7FFFFFFFu;
  const uint32_t normal = (magnitude + 0xFFFu + (magnitude >> 13 & 1u) - 0x38000000u) >> 13;
  const uint32_t subnormal = scalar::bits(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000u;
  uint32_t result = magnitude < 0x38800000u ? subnormal : normal;
  result = magnitude >= 0x477FF000u ? 0x7C00u : result;
  result = magnitude > 0x7F800000u ? 0x7E00u | (magnitude >> 13 & 0x1FFu) : result;
  return static_cast<uint16_t>(sign | result);
}
PERI_SCALAR float from_f16(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, magnitude = h & 0x7FFFu;
  const uint32_t normal = (magnitude << 13) + 0x38000000u;
  const uint32_t subnormal = scalar::bits(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  uint32_t result = magnitude >= 0x0400u ? normal : subnormal;
  result = magnitude >= 0x7C00u ? 0x7F800000u | (magnitude & 0x3FFu) << 13 : result;
  return std::bit_cast<float>(sign | result);
}

// A dtype's element in memory and its register.
template <DType>
struct Element;
template <>
struct Element<DType::f32> {
  using Memory = float;
  using Register = float;
  PERI_SCALAR static float load(float m) { return m; }
  PERI_SCALAR static float store(float r) { return r; }
};
template <>
struct Element<DType::f16> {
  using Memory = uint16_t;
  using Register = float;
  PERI_SCALAR static float load(uint16_t m) { return from_f16(m); }
  PERI_SCALAR static uint16_t store(float r) { return to_f16(r); }
};
template <>
struct Element<DType::bf16> {
  using Memory = uint16_t;
  using Register = float;
  PERI_SCALAR static float load(uint16_t m) { return std::bit_cast<float>(static_cast<uint32_t>(m) << 16); }
  PERI_SCALAR static uint16_t store(float r) {
    const uint32_t u = scalar::bits(r);
    const uint32_t rounded = (u + 0x7FFFu + (u >> 16 & 1u)) >> 16, quiet = u >> 16 | 0x40u;
    return static_cast<uint16_t>((u & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
  }
};
template <class Integer>
struct IntegerElement {
  using Memory = Integer;
  using Register = int64_t;
  PERI_SCALAR static int64_t load(Integer m) { return m; }
  PERI_SCALAR static Integer store(int64_t r) { return static_cast<Integer>(r); }
};
template <>
struct Element<DType::i32> : IntegerElement<int32_t> {};
template <>
struct Element<DType::i64> : IntegerElement<int64_t> {};
template <>
struct Element<DType::u8> : IntegerElement<uint8_t> {};
template <>
struct Element<DType::boolean> : IntegerElement<uint8_t> {
  PERI_SCALAR static int64_t load(uint8_t m) { return m != 0; }  // any byte but 0 is true
};

// A number as a register of dtype, by the table's cast.
inline float float_register(DType dtype, double number) {
  return static_cast<float>(round_to(dtype, number));
}
int64_t integer_register(DType dtype, double number);

// Bytes of one register.
constexpr int64_t register_size(DType dtype) {
  return is_float(dtype) ? 4 : 8;
}

// Calls f.template operator()<dtype>() for the run-time dtype.
template <class F>
auto with_dtype(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return f.template operator()<DType::f32>();
    case DType::f16:
      return f.template operator()<DType::f16>();
    case DType::bf16:
      return f.template operator()<DType::bf16>();
    case DType::i32:
      return f.template operator()<DType::i32>();
    case DType::i64:
      return f.template operator()<DType::i64>();
    case DType::u8:
      return f.template operator()<DType::u8>();
    case DType::boolean:
      break;
  }
  return f.template operator()<DType::boolean>();
}

}  // namespace peri::kernels::host
