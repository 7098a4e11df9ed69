// Plans that share memory, on one rank: how much there is, that growth moves what is older and spoils
// nothing, and that errors while growing leave everything usable.
#include "tests/cudagraph/rig.hpp"

namespace peri::test {
namespace {

// x w w w + x w for x of rows x 2 and w as below, which exchanges the columns. The first product lives on
// while two others take turns in two blocks, one of which is the output's.
Graph products(int64_t rows) {
  Program p;
  const NodeId x = p.input(DType::f32, {rows, 2}), w = p.input(DType::f32, {2, 2});
  const NodeId once = p.op(Op::matmul, {x, w});
  const NodeId thrice = p.op(Op::matmul, {p.op(Op::matmul, {once, w}), w});
  return p.returning({p.op(Op::add, {thrice, once})});
}

struct SharingRig : Rig {
  kernels::Tensor w = (*this)({0, 1, 1, 0}, {2, 2});

  // Of the plan with so many rows; the columns hold `first` and `first` + 1.
  std::vector<kernels::Tensor> result(cudagraph::Executable& f, int64_t rows, float first) {
    Floats values(static_cast<size_t>(2 * rows));
    for (size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i % 2);
    return call(f, {(*this)(values, {rows, 2}), w});
  }
  void expect(const kernels::Tensor& got, float first) {
    const Floats values = read(got);
    for (size_t i = 0; i < values.size(); ++i)
      if (values[i] != 2 * (first + static_cast<float>(1 - i % 2))) FAIL(values[i]);
  }
  void check(cudagraph::Executable& f, int64_t rows, float first) {
    expect(result(f, rows, first)[0], first);
  }
};

Bytes scratch_of(int64_t rows) {
  return Bytes(2 * ((rows * 8 + 255) / 256 * 256));
}

}  // namespace

TEST_CASE("a hundred plans hold as much scratch as the largest needs, whatever their order") {
  const bool following = GENERATE(false, true);
  const int order = GENERATE(0, 1, 2);
  SharingRig rig;
  rig.backend.following = following;
  std::vector<int64_t> rows;
  for (int64_t i = 1; i <= 100; ++i)
    rows.push_back(order == 0 ? i * 50 : order == 1 ? 5050 - i * 50 : i * 37 % 101 * 50);
  std::vector<std::unique_ptr<cudagraph::Executable>> plans;
  for (int64_t n : rows) {
    plans.push_back(rig.make(products(n)));
    rig.check(*plans.back(), n, static_cast<float>(n));
  }
  CHECK(rig.memory.ordinary_bytes() >= scratch_of(5000));
  CHECK(rig.memory.ordinary_bytes() <= 2 * scratch_of(5000));
  CHECK(rig.memory.version() < 12);  // which is how often it was replaced
  for (int round = 0; round < 2; ++round)
    for (size_t i = 0; i < rows.size(); ++i) rig.check(*plans[i], rows[i], static_cast<float>(round));
  plans.erase(plans.begin(), plans.end() - 1);
  rig.check(*plans[0], rows.back(), 7);
  plans.clear();
  CHECK(rig.memory.ordinary_bytes() == Bytes());
}

TEST_CASE("a plan goes on where the memory has moved, and what it has returned stays") {
  SharingRig rig;
  rig.backend.following = GENERATE(false, true);
  auto small = rig.make(products(4));
  const auto held = rig.result(*small, 4, 10);
  const auto before = addresses(*small);
  auto large = rig.make(products(4000));
  rig.check(*large, 4000, 20);
  rig.expect(held[0], 10);
  const auto again = rig.result(*small, 4, 30);
  rig.check(*large, 4000, 40);
  rig.expect(held[0], 10);
  rig.expect(again[0], 30);
  CHECK(addresses(*small) != before);
  // A recording that follows its blocks is good for both places.
  CHECK(figure(*small, "recordings") == (rig.backend.following ? 1 : 2));
  rig.check(*small, 4, 50);
  const int allocations = rig.backend.allocations();
  for (int i = 0; i < 20; ++i) {  // nothing is allocated, whichever is called
    rig.check(*small, 4, 50);
    rig.check(*large, 4000, 60);
  }
  CHECK(rig.backend.allocations() == allocations + 40);  // the inputs
}

TEST_CASE("memory that a large plan needed goes with it, while others go on") {
  SharingRig rig;
  rig.backend.following = GENERATE(false, true);
  auto small = rig.make(products(4));
  rig.check(*small, 4, 1);
  auto large = rig.make(products(1 << 18));
  rig.check(*small, 4, 2);
  CHECK(rig.memory.ordinary_bytes() >= scratch_of(1 << 18));
  large.reset();
  CHECK(rig.memory.ordinary_bytes() < scratch_of(1 << 18));
  rig.check(*small, 4, 3);
  rig.check(*small, 4, 4);
}

TEST_CASE("an error while memory grows leaves the plans that are there usable") {
  SharingRig rig;
  rig.backend.following = GENERATE(false, true);
  auto small = rig.make(products(4));
  rig.check(*small, 4, 1);
  const auto held = rig.result(*small, 4, 2);
  rig.backend.max_allocation = Bytes(50'000);
  for (int i = 0; i < 2; ++i) {
    auto refused = cudagraph::Executable::create(planned(products(8000), {}, {0, 1}), rig.memory, {});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Code::OutOfMemory);
    rig.check(*small, 4, 3);
    rig.expect(held[0], 2);
  }
  // What is needed fits, though twice of what there was does not.
  auto medium = rig.make(products(2500));
  rig.check(*medium, 2500, 4);
  const uint64_t version = rig.memory.version();
  auto larger = rig.make(products(3000));
  CHECK(rig.memory.version() == version + 1);  // what there was lived until then
  rig.check(*larger, 3000, 5);
  rig.check(*small, 4, 6);
  CHECK(rig.memory.ordinary_bytes() <= Bytes(50'000));
  rig.backend.max_allocation = Bytes(1 << 30);
  auto large = rig.make(products(8000));
  rig.check(*large, 8000, 7);
  rig.check(*medium, 2500, 8);
  rig.check(*small, 4, 9);
}

TEST_CASE("memory of its own that a plan gives up comes back with its next call") {
  SharingRig rig;
  rig.backend.following = GENERATE(false, true);
  Program p;  // a captured tensor and an input that are not contiguous are copied
  const NodeId x = p.input(DType::f32, {2, 2});
  auto transposed = rig({1, 2, 3, 4}, {2, 2});
  transposed.view = {{2, 2}, {1, 2}, {}};  // [1 3; 2 4]
  auto f = rig.make(p.returning({p.op(Op::add, {x, p.constant(DType::f32, {2, 2})})}), {}, {transposed});
  const auto held = call(*f, {transposed});
  CHECK(f->kept_bytes() == Bytes(16 + 2 * 16));
  const int live = rig.backend.live();
  f->release();
  CHECK(f->kept_bytes() == Bytes());
  CHECK(rig.backend.live() == live - 2);  // the output is held
  CHECK(rig.read(held[0]) == Floats{2, 6, 4, 8});
  for (int i = 0; i < 3; ++i) {
    CHECK(f->has_free_outputs());
    CHECK(rig.read(call(*f, {transposed})[0]) == Floats{2, 6, 4, 8});
    CHECK(rig.read(call(*f, {rig({1, 1, 1, 1}, {2, 2})})[0]) == Floats{2, 4, 3, 5});
    if (i == 1) f->release();
  }
  CHECK(rig.read(held[0]) == Floats{2, 6, 4, 8});
  f.reset();
  CHECK(rig.read(held[0]) == Floats{2, 6, 4, 8});
}

}  // namespace peri::test
