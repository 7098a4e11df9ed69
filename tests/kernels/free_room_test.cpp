#include "kernels/symmetric/free_room.hpp"

#include <catch2/catch.hpp>

using peri::kernels::FreeRoom;

TEST_CASE("room that touches is one") {
  peri::kernels::FreeRoom free;
  free.add(0, 10);
  free.add(20, 10);
  CHECK(free.text() == "0+10 20+10 ");
  free.add(10, 10);
  CHECK(free.text() == "0+30 ");
  free.take(5, 10);
  CHECK(free.text() == "0+5 15+15 ");
  free.take(0, 5);
  free.take(15, 15);
  CHECK(free.text().empty());
}

TEST_CASE("an allocation lies where all members have room") {
  peri::kernels::FreeRoom a, b;
  a.add(0, 100);
  a.add(200, 100);
  b.add(50, 30);
  b.add(90, 150);
  const peri::kernels::FreeRoom common = a.common_with(b);
  CHECK(common.text() == "50+30 90+10 200+40 ");
  CHECK(b.common_with(a).text() == common.text());
  CHECK(common.first_fit(30) == 50);
  CHECK(common.first_fit(31) == 200);
  CHECK(common.first_fit(41) == -1);
}

TEST_CASE("what a member says of its room is read back") {
  peri::kernels::FreeRoom free;
  free.add(1024, 4096);
  free.add(int64_t{1} << 40, 1);
  const auto read = peri::kernels::FreeRoom::parse(free.text());
  REQUIRE(read);
  CHECK(read->text() == free.text());
  for (const char* bad : {"1", "1+", "1+2", "a+2 ", "1+2 3"})
    CHECK_FALSE(peri::kernels::FreeRoom::parse(bad));
}
