// The executable over a backend whose recordings follow blocks: one recording serves whatever moves, nothing
// is copied, and nothing is ever overwritten under a holder.
#include <deque>

#include "tests/cudagraph/rig.hpp"

namespace peri::test {
namespace {

struct FollowingRig : Rig {
  FollowingRig() { backend.following = true; }
};

// y = 2 x, z = y + x
Graph doubled(Shape shape = {3}) {
  Program p;
  const NodeId x = p.input(DType::f32, shape), y = p.op(Op::add, {x, x});
  return p.returning({y, p.op(Op::add, {y, x})});
}

}  // namespace

TEST_CASE("inputs that move are followed, and so are outputs that are held") {
  FollowingRig rig;
  auto f = rig.make(doubled());
  const kernels::Tensor block = rig({0, 1, 2, 3, 4, 5});
  std::deque<std::pair<float, std::vector<kernels::Tensor>>> held;
  for (int i = 0; i < 60; ++i) {
    kernels::Tensor x = rig({0, 1, 2});
    if (i % 3 == 0) {  // a window on a larger block
      x = block;
      x.type.shape = x.view.shape = {3};
      x.view.offset = Elements(i % 4);
    }
    const float v = i % 3 == 0 ? static_cast<float>(i % 4) : 0;
    held.emplace_back(v, call(*f, {x}));
    CHECK(f->address(f->plan().inputs[0]) == x.data());
    if (std::ssize(held) > i / 10) held.pop_front();
    for (const auto& [first, outputs] : held) {
      CHECK(rig.read(outputs[0]) == Floats{2 * first, 2 * first + 2, 2 * first + 4});
      CHECK(rig.read(outputs[1]) == Floats{3 * first, 3 * first + 3, 3 * first + 6});
    }
  }
  CHECK(figure(*f, "recordings") == 1);
  CHECK(rig.backend.copies == 0);
}

TEST_CASE("an input that is not contiguous is copied as long as it is not") {
  FollowingRig rig;
  auto f = rig.make(doubled({2, 2}));
  kernels::Tensor t = rig({1, 2, 3, 4}, {2, 2});
  for (int i = 1; i <= 3; ++i) {
    t.view = {{2, 2}, {1, 2}, {}};  // its transpose
    CHECK(rig.read(call(*f, {t})[0]) == Floats{2, 6, 4, 8});
    CHECK(rig.backend.copies == i);
    t.view = View::contiguous({2, 2});
    CHECK(rig.read(call(*f, {t})[0]) == Floats{2, 4, 6, 8});
    CHECK(rig.backend.copies == i);
  }
  CHECK(figure(*f, "recordings") == 1);
}

TEST_CASE("blocks of outputs that are all held are given to their holders") {
  FollowingRig rig;
  for (const int64_t count : {int64_t(3), int64_t(3) << 20}) {
    auto f = rig.make(doubled({count}));
    const kernels::Tensor x = blank(rig.backend, {count});
    std::vector<kernels::Tensor> held;
    const int calls = count == 3 ? 1100 : 5;
    for (int i = 0; i < calls; ++i) {
      for (int64_t k : {int64_t(0), count - 1}) rig.set(x, k, static_cast<float>(i));
      held.push_back(call(*f, {x})[1]);
    }
    CHECK_FALSE(f->has_free_outputs());
    for (int i = 0; i < calls; ++i) {
      const Floats values = rig.read(held[static_cast<size_t>(i)]);
      CHECK(values.front() == 3.0f * static_cast<float>(i));
      CHECK(values.back() == 3.0f * static_cast<float>(i));
    }
    CHECK(figure(*f, "recordings") == 1);
    CHECK(rig.backend.copies == 0);
    held.clear();
    CHECK(f->has_free_outputs());
  }
}

TEST_CASE("a few outputs that are held for good cost few sets") {
  FollowingRig rig;
  auto f = rig.make(doubled());
  const kernels::Tensor x = rig({1, 2, 3});
  std::vector<std::vector<kernels::Tensor>> held;
  for (int i = 0; i < 20; ++i) held.push_back(call(*f, {x}));
  std::vector<kernels::Tensor> last;
  for (int i = 0; i < 1000; ++i) last = call(*f, {x});
  CHECK(rig.backend.live() < 100);
  CHECK(rig.read(held[7][1]) == Floats{3, 6, 9});
}

TEST_CASE("an output that is fed back is written under another") {
  FollowingRig rig;
  auto f = rig.make(doubled());
  kernels::Tensor x = rig({1, 2, 3});
  float factor = 1;
  for (int i = 0; i < 12; ++i) {
    x = call(*f, {x})[i % 2];
    factor *= i % 2 ? 3.0f : 2.0f;
    CHECK(rig.read(x) == Floats{factor, 2 * factor, 3 * factor});
  }
  CHECK(figure(*f, "recordings") == 1);
}

TEST_CASE("what is written in place is followed too, and equal arguments stay two") {
  FollowingRig rig;
  Program p;
  const NodeId x = p.input(DType::f32, {3}), y = p.input(DType::f32, {3});
  p.write_back(p.op(Op::add, {x, y}), 0);
  auto f = rig.make(p.returning({}));
  for (int i = 0; i < 4; ++i) {
    const kernels::Tensor a = rig({1, 2, 3}), b = rig({10, 20, 30});
    call(*f, {a, b});
    CHECK(rig.read(a) == Floats{11, 22, 33});
  }
  CHECK(figure(*f, "recordings") == 1);

  Program q;
  auto g = rig.make(q.returning({q.op(Op::sub, {q.input(DType::f32, {3}), q.input(DType::f32, {3})})}));
  const kernels::Tensor a = rig({1, 2, 3}), b = rig({10, 20, 30});
  CHECK(rig.read(call(*g, {a, a})[0]) == Floats{0, 0, 0});
  CHECK(rig.read(call(*g, {b, a})[0]) == Floats{9, 18, 27});
  CHECK(figure(*g, "recordings") == 1);
}

TEST_CASE("partitions on both sides of an eager one follow what moves") {
  FollowingRig rig;
  auto f = rig.make(round_trip());
  std::vector<std::vector<kernels::Tensor>> held;
  for (int i = 1; i < 6; ++i) {
    const float v = static_cast<float>(i);
    held.push_back(call(*f, {rig({v, 2 * v, 3 * v, 4 * v}, {2, 2})}));
  }
  for (int i = 1; i < 6; ++i) {
    const float v = static_cast<float>(i);
    CHECK(rig.read(held[static_cast<size_t>(i - 1)][0]) ==
          Floats{4 * v * v, 36 * v * v, 16 * v * v, 64 * v * v});
    CHECK(rig.read(held[static_cast<size_t>(i - 1)][1]) == Floats{2 * v, 6 * v, 4 * v, 8 * v});
  }
  CHECK(figure(*f, "recordings") == 1);
}

}  // namespace peri::test
