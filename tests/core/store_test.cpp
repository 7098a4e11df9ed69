// Tables indexed by typed ids.
#include <catch2/catch.hpp>

#include <deque>
#include <string>

#include "core/store.hpp"

using namespace peri;

namespace {

struct Apple;
struct Pear;
using AppleId = Id<Apple>;
using PearId = Id<Pear>;

template <class Index>
concept IndexesApples = requires(Store<AppleId, int> apples, Index index) { apples[index]; };
static_assert(IndexesApples<AppleId>);
static_assert(!IndexesApples<PearId> && !IndexesApples<int> && !IndexesApples<size_t>);

}  // namespace

TEST_CASE("a store hands out its ids in order and knows which are its own") {
  Store<AppleId, std::string> apples;
  CHECK(apples.empty());
  const AppleId first = apples.push_back("first"), second = apples.push_back("second");
  CHECK(first == AppleId(0));
  CHECK(second == AppleId(1));
  CHECK(apples[second] == "second");
  CHECK(apples.back() == "second");
  CHECK(apples.contains(second));
  CHECK_FALSE(apples.contains(AppleId(2)));
  CHECK_FALSE(apples.contains(AppleId()));
  CHECK_FALSE(apples.contains(AppleId(-2)));

  Store<AppleId, bool> ripe(apples.size(), false);
  ripe[second] = true;
  std::string names;
  for (AppleId id : apples.ids()) names += apples[id] + (ripe[id] ? "+" : "-");
  CHECK(names == "first-second+");
}

TEST_CASE("references into a store over a deque outlive additions") {
  Store<AppleId, int, std::deque<int>> store;
  const int& first = store[store.push_back(7)];
  for (int i = 0; i < 1000; ++i) store.push_back(i);
  CHECK(&first == &store[AppleId(0)]);
  CHECK(first == 7);
}
