// Checked arithmetic on shapes.
#include <catch2/catch.hpp>

#include <limits>
#include <type_traits>

#include "tests/core/types.hpp"

using namespace peri;

// A shape is not strides.
template <class A, class B>
concept Comparable = requires(const A& a, const B& b) { a == b; };
static_assert(!std::is_constructible_v<Strides, Shape> && !std::is_constructible_v<Shape, Strides>);
static_assert(!std::is_assignable_v<Strides&, Shape> && !std::is_assignable_v<Shape&, Strides>);
static_assert(!std::is_convertible_v<Shape, Strides> && !std::is_convertible_v<Strides, Shape>);
static_assert(Comparable<Shape, Shape> && !Comparable<Shape, Strides> && !Comparable<Strides, Shape>);

TEST_CASE("dims insert and erase") {
  Shape dims = {2, 3};
  dims.insert(0, 7);
  dims.insert(3, 9);
  dims.insert(2, 8);
  CHECK(dims.to_string() == "[7,2,8,3,9]");
  dims.erase(0);
  dims.erase(3);
  CHECK(dims == Shape{2, 8, 3});
  CHECK(dims != Shape{2, 8});
}

TEST_CASE("element counts are checked") {
  CHECK(checked_numel({}) == 1);
  CHECK(checked_numel({3, 0, 5}) == 0);
  CHECK(checked_numel({3, 4, 5}) == 60);
  CHECK(message(checked_numel({2, -1})) == "dim 2 of shape [2,-1] is negative");
  const int64_t big = int64_t{1} << 59;
  CHECK(checked_numel({big}) == big);
  CHECK(!checked_numel({big, 2}));  // bytes of i64 would not fit
  CHECK(!checked_numel({std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::max()}));
  CHECK(!checked_numel({0, std::numeric_limits<int64_t>::max()}));  // its strides would not fit
  CHECK(make_shape(std::vector<int64_t>(9, 1)).error().code == Code::Unsupported);
}

TEST_CASE("strides") {
  CHECK(contiguous_strides({2, 3, 4}) == Strides{12, 4, 1});
  CHECK(contiguous_strides({2, 0, 4}) == Strides{4, 4, 1});
  CHECK(is_contiguous({2, 3}, {3, 1}));
  CHECK(!is_contiguous({2, 3}, {1, 2}));
  CHECK(is_contiguous({2, 1, 3}, {3, 99, 1}));  // the stride of a single position does not matter
  CHECK(!is_contiguous({2, 3}, {0, 1}));
  CHECK(is_contiguous({0, 3}, {0, 0}));
}

TEST_CASE("broadcasting follows NumPy") {
  CHECK(broadcast({2, 3}, {3}) == Shape{2, 3});
  CHECK(broadcast({2, 1}, {1, 3}) == Shape{2, 3});
  CHECK(broadcast({}, {4, 5}) == Shape{4, 5});
  CHECK(broadcast({1}, {0}) == Shape{0});
  CHECK(message(broadcast({2, 3}, {4})) == "shapes do not broadcast: 3 (dim 2 of a) and 4 (dim 1 of b)");
  CHECK(message(broadcast({0}, {2})) == "shapes do not broadcast: 0 (dim 1 of a) and 2 (dim 1 of b)");
  const Shape three[] = {{1}, {2, 5}, {2, 6}};
  CHECK(message(broadcast(three)) == "shapes do not broadcast: 5 (dim 2 of b) and 6 (dim 2 of c)");
}

TEST_CASE("types print") {
  CHECK(type(DType::bf16, {64, 512}).to_string() == "bf16[64,512]");
  CHECK(type(DType::boolean, {}, Place::host).to_string() == "bool[] on host");
  CHECK(type(DType::bf16, {64, 512}).bytes() == Bytes(65536));
}
