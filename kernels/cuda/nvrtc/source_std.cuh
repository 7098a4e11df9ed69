// What core/types/scalar.hpp needs of the standard library, for NVRTC, which has none: it is given this file
// under each header's name, so that device code computes with the very text that the host kernels are made
// of.
#pragma once

using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long long;
using uint64_t = unsigned long long;

namespace std {

using size_t = decltype(sizeof(0));
enum class byte : uint8_t {};

template <class A, class B>
inline constexpr bool is_same_v = false;
template <class A>
inline constexpr bool is_same_v<A, A> = true;
template <class A, class B>
concept same_as = is_same_v<A, B>;

template <class T>
inline constexpr bool is_floating_point_v = is_same_v<T, float> || is_same_v<T, double>;
template <class T>
concept floating_point = is_floating_point_v<T>;
template <class T>
concept integral = is_same_v<T, bool> || is_same_v<T, int32_t> || is_same_v<T, int64_t> ||
                   is_same_v<T, uint8_t> || is_same_v<T, uint32_t> || is_same_v<T, uint64_t>;

template <bool condition, class Yes, class No>
struct conditional {
  using type = Yes;
};
template <class Yes, class No>
struct conditional<false, Yes, No> {
  using type = No;
};
template <bool condition, class Yes, class No>
using conditional_t = typename conditional<condition, Yes, No>::type;

template <class To, class From>
__device__ constexpr To bit_cast(const From& from) {
  return __builtin_bit_cast(To, from);
}

template <class T>
struct numeric_limits;
template <>
struct numeric_limits<float> {
  static constexpr bool has_infinity = true;
  static constexpr float infinity() { return __builtin_bit_cast(float, 0x7F800000u); }
  static constexpr float quiet_NaN() { return __builtin_bit_cast(float, 0x7FC00000u); }
};
template <>
struct numeric_limits<double> {
  static constexpr bool has_infinity = true;
  static constexpr double infinity() { return __builtin_bit_cast(double, 0x7FF0000000000000ull); }
};
template <class T, T least, T most>
struct integer_limits {
  static constexpr bool has_infinity = false;
  static constexpr T min() { return least; }
  static constexpr T lowest() { return least; }
  static constexpr T max() { return most; }
};
template <>
struct numeric_limits<int64_t> : integer_limits<int64_t, -9223372036854775807ll - 1, 9223372036854775807ll> {
};
template <>
struct numeric_limits<int32_t> : integer_limits<int32_t, -2147483647 - 1, 2147483647> {};
template <>
struct numeric_limits<uint8_t> : integer_limits<uint8_t, 0, 255> {};

__device__ inline float sqrt(float x) {
  return __fsqrt_rn(x);
}

// The double functions of core/types/scalar.hpp, which no kernel calls, name these.
__device__ double fabs(double);
__device__ double exp(double);
__device__ double expm1(double);
__device__ double log(double);
__device__ double log1p(double);
__device__ double sqrt(double);
__device__ double sin(double);
__device__ double cos(double);
__device__ double tanh(double);
__device__ double erf(double);
__device__ double erfc(double);
__device__ double floor(double);
__device__ double ceil(double);
__device__ double nearbyint(double);
__device__ double pow(double, double);
__device__ double fmod(double, double);

}  // namespace std
