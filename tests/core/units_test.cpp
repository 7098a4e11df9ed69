// Bytes and elements do not mix.
#include <catch2/catch.hpp>

#include <type_traits>

#include "core/types/units.hpp"

using namespace peri;

namespace {

template <class A, class B>
concept Adds = requires(A a, B b) { a + b; };
template <class A, class B>
concept Compares = requires(A a, B b) { a < b; };
template <class A, class B>
concept Multiplies = requires(A a, B b) { a* b; };

static_assert(Adds<Bytes, Bytes> && !Adds<Bytes, Elements> && !Adds<Bytes, int64_t>);
static_assert(Compares<Elements, Elements> && !Compares<Elements, Bytes> && !Compares<Elements, int>);
static_assert(Multiplies<Bytes, int64_t> && !Multiplies<Bytes, Bytes> && !Multiplies<Bytes, Elements>);
static_assert(!std::is_convertible_v<int64_t, Bytes> && !std::is_convertible_v<Bytes, int64_t>);
static_assert(!std::is_constructible_v<Bytes, Elements> && !std::is_assignable_v<Bytes&, Elements>);
static_assert(std::is_constructible_v<Bytes, size_t> && !std::is_constructible_v<Bytes, double>);
static_assert(!Adds<int*, Bytes> && Adds<std::byte*, Bytes> && !Adds<std::byte*, Elements>);

}  // namespace

TEST_CASE("elements have as many bytes as their dtype says") {
  CHECK(bytes_of(Elements(3), DType::f32) == Bytes(12));
  CHECK(bytes_of(Elements(3), DType::boolean) == Bytes(3));
  CHECK(bytes_of(Elements(-2), DType::i64) == Bytes(-16));
  CHECK(elements_in(Bytes(7), DType::bf16) == Elements(3));
}

TEST_CASE("quantities count") {
  Bytes bytes(10);
  bytes += Bytes(5);
  bytes -= Bytes(1);
  CHECK(bytes == Bytes(14));
  CHECK((bytes * 2).count() == 28);
  CHECK(3 * bytes / 2 == Bytes(21));
  CHECK(bytes / Bytes(4) == 3);
  CHECK(bytes % Bytes(4) == Bytes(2));
  CHECK(rounded_up(bytes, Bytes(8)) == Bytes(16));
  CHECK(rounded_up(Bytes(16), Bytes(8)) == Bytes(16));
  CHECK(rounded_up(Bytes(), Bytes(8)) == Bytes());
  std::byte block[4]{};
  CHECK(block + Bytes(3) == &block[3]);
}
