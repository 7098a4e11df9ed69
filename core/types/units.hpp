// Numbers of bytes and of elements, as types that do not mix. They meet in bytes_of and elements_in.
//
// Views that kernels take, loop counters and device code count in plain int64: what a unit wraps is taken out
// with count() where it is handed to them.
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/types/dtype.hpp"

namespace peri {

template <class Tag>
class Quantity {
 public:
  constexpr Quantity() = default;
  template <std::integral Number>
  explicit constexpr Quantity(Number count) : count_(static_cast<int64_t>(count)) {}

  constexpr int64_t count() const { return count_; }

  friend constexpr bool operator==(Quantity, Quantity) = default;
  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return Quantity(a.count_ + b.count_); }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return Quantity(a.count_ - b.count_); }
  friend constexpr Quantity operator*(Quantity a, int64_t times) { return Quantity(a.count_ * times); }
  friend constexpr Quantity operator*(int64_t times, Quantity a) { return a * times; }
  friend constexpr Quantity operator/(Quantity a, int64_t parts) { return Quantity(a.count_ / parts); }
  // How often `b` goes into `a`, and what is left.
  friend constexpr int64_t operator/(Quantity a, Quantity b) { return a.count_ / b.count_; }
  friend constexpr Quantity operator%(Quantity a, Quantity b) { return Quantity(a.count_ % b.count_); }
  constexpr Quantity& operator+=(Quantity b) { return *this = *this + b; }
  constexpr Quantity& operator-=(Quantity b) { return *this = *this - b; }

 private:
  int64_t count_ = 0;
};

template <class Tag>
constexpr Quantity<Tag> rounded_up(Quantity<Tag> a, Quantity<Tag> unit) {
  return (a + unit - Quantity<Tag>(1)) / unit * unit;
}

using Bytes = Quantity<struct BytesTag>;
using Elements = Quantity<struct ElementsTag>;

// For numbers of elements that have been checked (checked_numel): the product fits.
constexpr Bytes bytes_of(Elements elements, DType dtype) {
  return Bytes(elements.count() * size_of(dtype));
}
// How many whole elements fit.
constexpr Elements elements_in(Bytes bytes, DType dtype) {
  return Elements(bytes.count() / size_of(dtype));
}

// The address so many bytes on.
template <class Byte>
  requires std::same_as<std::remove_const_t<Byte>, std::byte>
constexpr Byte* operator+(Byte* address, Bytes bytes) {
  return address + bytes.count();
}

}  // namespace peri
