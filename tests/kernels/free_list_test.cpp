#include "kernels/symmetric/free_list.hpp"

#include <catch2/catch.hpp>

using peri::kernels::FreeList;

TEST_CASE("free ranges that touch are one") {
  FreeList list;
  list.free(0, 10);
  list.free(20, 10);
  CHECK(list.text() == "0+10 20+10 ");
  list.free(10, 10);
  CHECK(list.text() == "0+30 ");
  list.allocate(5, 10);
  CHECK(list.text() == "0+5 15+15 ");
  list.allocate(0, 5);
  list.allocate(15, 15);
  CHECK(list.text().empty());
}

TEST_CASE("an allocation lies where it is free on all members") {
  FreeList a, b;
  a.free(0, 100);
  a.free(200, 100);
  b.free(50, 30);
  b.free(90, 150);
  const FreeList common = a.common_with(b);
  CHECK(common.text() == "50+30 90+10 200+40 ");
  CHECK(b.common_with(a).text() == common.text());
  CHECK(common.first_fit(30) == 50);
  CHECK(common.first_fit(31) == 200);
  CHECK(common.first_fit(41) == -1);
}

TEST_CASE("a free list that a member sends is read back") {
  FreeList list;
  list.free(1024, 4096);
  list.free(int64_t{1} << 40, 1);
  const auto read = FreeList::parse(list.text());
  REQUIRE(read);
  CHECK(read->text() == list.text());
  for (const char* bad : {"1", "1+", "1+2", "a+2 ", "1+2 3"}) CHECK_FALSE(FreeList::parse(bad));
}
