// The executable on one rank: what stays where it is, what is copied, what is recorded again, and that
// nothing is ever read stale. All values are small whole numbers, computed here by hand.
#include <deque>
#include <set>

#include "tests/cudagraph/rig.hpp"

namespace peri::test {
namespace {

// y = 2 x, z = y + x
Graph doubled(Shape shape = {3}) {
  Program p;
  const NodeId x = p.input(DType::f32, shape), y = p.op(Op::add, {x, x});
  return p.returning({y, p.op(Op::add, {y, x})});
}

// x <- x + 1, returns 2 x (of the old x)
Graph counter() {
  Program p;
  const NodeId x = p.input(DType::f32, {3}), one = p.full(DType::f32, {}, 1);
  p.write_back(p.op(Op::add, {x, one}), 0);
  return p.returning({p.op(Op::add, {x, x})});
}

// x + c for a captured c
Graph plus_constant(Shape shape = {3}) {
  Program p;
  const NodeId x = p.input(DType::f32, shape);
  return p.returning({p.op(Op::add, {x, p.constant(DType::f32, shape)})});
}

}  // namespace

TEST_CASE("replays use the addresses of the recording, and allocate nothing", "[here]") {
  Rig rig;
  auto f = rig.make(doubled());
  const kernels::Tensor x = rig({1, 2, 3});
  CHECK(rig.read(call(*f, {x})[1]) == Floats{3, 6, 9});
  const auto fixed = addresses(*f);
  const int allocations = rig.backend.allocations();
  for (int i = 0; i < 5; ++i) {
    rig.set(x, 0, static_cast<float>(i));
    const auto results = call(*f, {x});
    CHECK(rig.read(results[0]) == Floats{2.0f * i, 4, 6});
    CHECK(rig.read(results[1]) == Floats{3.0f * i, 6, 9});
    CHECK(addresses(*f) == fixed);
    CHECK(f->address(f->plan().inputs[0]) == x.data());
  }
  CHECK(figure(*f, "recordings") == 1);
  CHECK(figure(*f, "replays") == 6);
  CHECK(rig.backend.allocations() == allocations);
}

TEST_CASE("an input that keeps moving is copied after two misses", "[here]") {
  Rig rig;
  auto f = rig.make(doubled());
  std::vector<kernels::Tensor> held;  // so that no address comes twice
  auto run = [&](float value, const kernels::Tensor* same = nullptr) {
    held.push_back(same ? *same : rig({value, 0, 1}));
    CHECK(rig.read(call(*f, {held.back()})[0]) == Floats{2 * value, 0, 2});
    return figure(*f, "recordings");
  };
  CHECK(run(1) == 1);
  CHECK(run(2) == 2);  // first miss: recorded anew
  const kernels::Tensor first = held[0], second = held[1];
  CHECK(run(1, &first) == 2);  // both addresses are known now
  CHECK(run(2, &second) == 2);
  CHECK(run(3) == 3);  // second miss: from now on copied
  const std::byte* own = f->address(f->plan().inputs[0]);
  for (float value : {4.0f, 5.0f, 6.0f}) {
    CHECK(run(value) == 3);
    CHECK(f->address(f->plan().inputs[0]) == own);
  }
  // Where there is a recording, it is replayed.
  int copies = rig.backend.copies;
  CHECK(run(1, &first) == 3);
  CHECK(rig.backend.copies == copies);
  CHECK(run(7) == 3);
  CHECK(rig.backend.copies == ++copies);
  // One that lies still again is recorded after nine calls, and copied no more.
  const kernels::Tensor still = rig({8, 0, 1});
  for (int i = 0; i < 8; ++i) CHECK(run(8, &still) == 3);
  copies = rig.backend.copies;
  for (int i = 0; i < 8; ++i) CHECK(run(8, &still) == 4);
  CHECK(rig.backend.copies == copies);
}

TEST_CASE("an input that is not contiguous is copied", "[here]") {
  Rig rig;
  Program p;
  const NodeId x = p.input(DType::f32, {2, 2});
  auto f = rig.make(p.returning({p.op(Op::neg, {x})}));
  kernels::Tensor t = rig({1, 2, 3, 4});
  t.type.shape = {2, 2};
  t.view = {{2, 2}, {1, 2}, {}};  // its transpose
  for (int i = 0; i < 3; ++i) CHECK(rig.read(call(*f, {t})[0]) == Floats{-1, -3, -2, -4});
  CHECK(figure(*f, "recordings") == 1);
}

// How a script calls: y = f(x), with the last y held until then; and a language that collects late, which
// holds several.
TEST_CASE("outputs that are held for a while cost no copy, no allocation and no recording", "[here]") {
  Rig rig;
  for (const int window : {1, 2, 9}) {
    auto f = rig.make(doubled());
    const kernels::Tensor x = rig({0, 0, 0});
    std::deque<std::pair<float, std::vector<kernels::Tensor>>> held;
    int allocations = 0, copies = 0;
    for (int i = 0; i < 60; ++i) {
      if (i == 20) allocations = rig.backend.allocations(), copies = rig.backend.copies;
      const float v = static_cast<float>(i);
      for (int64_t k : {0, 1, 2}) rig.set(x, k, v);
      CHECK(f->has_free_outputs());
      held.emplace_back(v, call(*f, {x}));
      if (std::ssize(held) > window) held.pop_front();
      for (const auto& [value, outputs] : held) {
        CHECK(rig.read(outputs[0]) == Floats(3, 2 * value));
        CHECK(rig.read(outputs[1]) == Floats(3, 3 * value));
      }
    }
    CHECK(figure(*f, "recordings") == window + 1);
    CHECK(rig.backend.allocations() == allocations);
    CHECK(rig.backend.copies == copies);
  }
}

TEST_CASE("however many outputs are held, none is overwritten", "[here]") {
  Rig rig;
  auto f = rig.make(doubled());
  std::vector<std::vector<kernels::Tensor>> held;
  std::set<const std::byte*> used;
  const kernels::Tensor x = rig({0, 0, 0});
  while (held.size() < 300) {
    const float v = static_cast<float>(held.size());
    for (int64_t k : {0, 1, 2}) rig.set(x, k, v);
    held.push_back(call(*f, {x}));
    used.insert(f->address(f->plan().outputs[0].value.buffer));
  }
  CHECK_FALSE(f->has_free_outputs());
  CHECK(used.size() < 100);
  CHECK(figure(*f, "recordings") == static_cast<double>(used.size()));
  for (size_t i = 0; i < held.size(); ++i) {
    CHECK(rig.read(held[i][0]) == Floats(3, 2 * static_cast<float>(i)));
    CHECK(rig.read(held[i][1]) == Floats(3, 3 * static_cast<float>(i)));
  }
  // A view holds it as well as the tensor does.
  kernels::Tensor view = held.back()[1];
  view.type.shape = view.view.shape = {2};
  view.view.offset = Elements(1);
  held.clear();
  CHECK(f->has_free_outputs());
  for (int i = 0; i < 100; ++i) call(*f, {x});
  CHECK(rig.read(view) == Floats{897, 897});
}

TEST_CASE("of large outputs there are few sets, and what is held beyond is moved away", "[here]") {
  Rig rig;
  const int64_t count = 3 << 20;  // of 4 bytes; two outputs
  auto f = rig.make(doubled({count}));
  const kernels::Tensor x = blank(rig.backend, {count});
  std::vector<kernels::Tensor> held;
  for (int i = 0; i < 6; ++i) {
    for (int64_t k : {int64_t(0), count - 1}) rig.set(x, k, static_cast<float>(i));
    CHECK(f->has_free_outputs() == (i < 2));
    const int copies = rig.backend.copies;
    held.push_back(call(*f, {x})[1]);
    CHECK(rig.backend.copies == copies + (i < 2 ? 0 : 1));
  }
  for (int i = 0; i < 6; ++i) {
    const Floats values = rig.read(held[static_cast<size_t>(i)]);
    CHECK(values.front() == 3.0f * static_cast<float>(i));
    CHECK(values.back() == 3.0f * static_cast<float>(i));
  }
  CHECK(figure(*f, "recordings") == 2);
}

TEST_CASE("outputs that are fed back are read where they lie", "[here]") {
  Rig rig;
  auto f = rig.make(plus_constant(), {}, {rig({1, 10, 100})});
  const kernels::Tensor zeros = rig({0, 0, 0});
  kernels::Tensor x = zeros;
  for (int i = 1; i < 40; ++i) {
    x = call(*f, {x})[0];
    const float n = static_cast<float>(i);
    CHECK(rig.read(x) == Floats{n, 10 * n, 100 * n});
  }
  CHECK(rig.backend.copies == 0);
  CHECK(figure(*f, "recordings") == 3);  // from zeros to the first set, from it to the second, and back

  // Through another function, with as many sets held by a late collector.
  auto g = rig.make(doubled()), h = rig.make(plus_constant(), {}, {rig({-1, -1, -1})});
  std::deque<kernels::Tensor> held{rig({1, 1, 1})};
  for (int i = 0; i < 100; ++i) {
    held.push_back(call(*g, {held.back()})[0]);
    held.push_back(call(*h, {held.back()})[0]);  // 2 - 1
    CHECK(rig.read(held.back()) == Floats(3, 1));
    if (i % 8 == 7) held.erase(held.begin(), held.end() - 1);
  }
  CHECK(rig.backend.copies == 0);
  CHECK(figure(*g, "recordings") < 12);
  CHECK(figure(*h, "recordings") < 12);
}

TEST_CASE("an output is fed back as the next input", "[here]") {
  Rig rig;
  auto f = rig.make(doubled());
  kernels::Tensor x = rig({1, 2, 3});
  float factor = 1;
  for (int i = 0; i < 12; ++i) {
    x = call(*f, {x})[i % 2];
    factor *= i % 2 ? 3 : 2;
    CHECK(rig.read(x) == Floats{factor, 2 * factor, 3 * factor});
  }
}

TEST_CASE("a mutated input is written where it lies", "[here]") {
  Rig rig;
  auto f = rig.make(counter());
  std::vector<kernels::Tensor> many;
  for (int i = 0; i < 6; ++i) many.push_back(rig(Floats(3, 10.0f * i)));  // more than recordings are kept
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 6; ++i) {
      const kernels::Tensor& x = many[static_cast<size_t>(i)];
      const auto results = call(*f, {x});
      REQUIRE(results.size() == 1);
      CHECK(rig.read(results[0]) == Floats(3, 2 * (10.0f * i + round)));
      CHECK(rig.read(x) == Floats(3, 10.0f * i + round + 1));
      CHECK(f->address(f->plan().inputs[0]) == x.data());
    }
  kernels::Tensor strided = rig({1, 2, 3, 4, 5, 6});
  strided.type.shape = {3};
  strided.view = {{3}, {2}, {}};
  const auto refused = f->call({&strided, 1});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::InvalidArgument);
  CHECK(refused.error().message.starts_with("argument 1 is written in place"));
}

TEST_CASE("of the recordings for one set of outputs, the eight that were used last are kept", "[here]") {
  Rig rig;
  auto f = rig.make(counter());
  std::vector<kernels::Tensor> many;
  for (int i = 0; i < 9; ++i) many.push_back(rig({1, 2, 3}));
  auto records = [&](size_t i) {
    const double before = figure(*f, "recordings");
    call(*f, {many[i]});
    return figure(*f, "recordings") > before;
  };
  for (size_t i : {0, 1, 2, 3, 4, 5, 6, 7}) CHECK(records(i));
  for (size_t i : {0, 1, 2, 3, 4, 5, 6, 7, 0}) CHECK_FALSE(records(i));
  CHECK(records(8));
  for (size_t i : {0, 2, 3, 4, 5, 6, 7}) CHECK_FALSE(records(i));
  CHECK(records(1));
}

TEST_CASE("a chain holds as many blocks as are alive at once", "[here]") {
  Rig rig;
  auto blocks_of = [&](int length) {
    Program p;
    NodeId x = p.input(DType::f32, {2, 2});
    const NodeId w = p.input(DType::f32, {2, 2});
    for (int i = 0; i < length; ++i) x = p.op(Op::matmul, {x, w});
    const int before = rig.backend.live();
    auto f = rig.make(p.returning({x}));
    const kernels::Tensor start = rig({1, 2, 3, 4}, {2, 2}), exchanges = rig({0, 1, 1, 0}, {2, 2});
    const auto results = call(*f, {start, exchanges});
    CHECK(rig.read(results[0]) == (length % 2 ? Floats{2, 1, 4, 3} : Floats{1, 2, 3, 4}));
    return rig.backend.live() - before;
  };
  CHECK(blocks_of(4) == blocks_of(9));
}

TEST_CASE("a window of a value begins where it says", "[here]") {
  Rig rig;
  Program p;
  const NodeId x = p.input(DType::f32, {4, 2}), w = p.input(DType::f32, {2, 2});
  const NodeId y = p.op(Op::matmul, {x, w});
  auto f = rig.make(p.returning({p.op(Op::neg, {p.slice(y, 0, 1, 3)})}));
  const auto results = call(*f, {rig({1, 2, 3, 4, 5, 6, 7, 8}, {4, 2}), rig({0, 1, 1, 0}, {2, 2})});
  CHECK(rig.read(results[0]) == Floats{-4, -3, -6, -5});
}

TEST_CASE("what is written in place must not be read under another name", "[here]") {
  Rig rig;
  Program p;  // a <- a + b, returns b
  const NodeId a = p.input(DType::f32, {3}), b = p.input(DType::f32, {3});
  p.write_back(p.op(Op::add, {a, b}), 0);
  auto f = rig.make(p.returning({p.op(Op::neg, {b})}));
  const kernels::Tensor block = rig({1, 2, 3, 4, 5, 6});
  auto window = [&](int64_t offset) {
    kernels::Tensor t = block;
    t.type.shape = {3};
    t.view = {{3}, {1}, Elements(offset)};
    return t;
  };
  CHECK(rig.read(call(*f, {window(0), window(3)})[0]) == Floats{-4, -5, -6});  // side by side is fine
  CHECK(rig.read(block) == Floats{5, 7, 9, 4, 5, 6});
  for (int64_t offset : {0, 2}) {
    const auto refused = f->call(std::vector{window(0), window(offset)});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.starts_with("argument 1 shares memory with argument 2"));
  }

  Program q;  // a <- a + c
  const NodeId target = q.input(DType::f32, {3});
  q.write_back(q.op(Op::add, {target, q.constant(DType::f32, {3})}), 0);
  auto g = rig.make(q.returning({}), {}, {window(1)});
  call(*g, {rig({1, 1, 1})});
  const auto refused = g->call(std::vector{window(0)});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.starts_with("argument 1 shares memory with a tensor"));
}

TEST_CASE("an eager partition allocates nothing when what it needs is hoisted", "[here]") {
  Rig rig;
  auto f = rig.make(round_trip());
  CHECK(figure(*f, "partitions") == 3);
  CHECK(figure(*f, "captured_partitions") == 2);
  CHECK(figure(*f, "hoisted_allocs") == 2);
  const kernels::Tensor x = rig({1, 2, 3, 4}, {2, 2});
  call(*f, {x});
  const auto fixed = addresses(*f);
  const int allocations = rig.backend.allocations();
  for (int i = 0; i < 4; ++i) {
    rig.set(x, 0, static_cast<float>(i));
    const auto results = call(*f, {x});
    CHECK(rig.read(results[0]) == Floats{4.0f * i * i, 36, 16, 64});
    CHECK(rig.read(results[1]) == Floats{2.0f * i, 6, 4, 8});
    CHECK(addresses(*f) == fixed);
  }
  CHECK(rig.backend.allocations() == allocations);
}

TEST_CASE("an eager partition with nothing captured before it allocates on every call, and keeps nothing",
          "[here]") {
  Rig rig;
  auto f = rig.make(round_trip(false));
  CHECK(figure(*f, "hoisted_allocs") == 0);
  const kernels::Tensor x = rig({1, 2, 3, 4}, {2, 2});
  call(*f, {x});
  const int live = rig.backend.live(), allocations = rig.backend.allocations();
  for (int i = 0; i < 4; ++i) {
    rig.set(x, 0, static_cast<float>(i));
    const auto results = call(*f, {x});
    CHECK(rig.read(results[0]) == Floats{1.0f * i * i, 9, 4, 16});
    CHECK(rig.read(results[1]) == Floats{1.0f * i, 3, 2, 4});
  }
  CHECK(rig.backend.allocations() == allocations + 4 * 2);  // both blocks on the host
  CHECK(rig.backend.live() == live);
}

TEST_CASE("captured tensors are read where they lie", "[here]") {
  Rig rig;
  kernels::Tensor c = rig({10, 20, 30});
  auto f = rig.make(plus_constant(), {}, {c});
  const kernels::Tensor x = rig({1, 2, 3});
  CHECK(rig.read(call(*f, {x})[0]) == Floats{11, 22, 33});
  rig.set(c, 0, 100);
  CHECK(rig.read(call(*f, {x})[0]) == Floats{101, 22, 33});
  CHECK(figure(*f, "recordings") == 1);
}

TEST_CASE("a change in place of a captured tensor that is not contiguous is seen", "[here]") {
  Rig rig;
  kernels::Tensor c = rig({10, 20, 30, 40});
  c.type.shape = {2, 2};
  c.view = {{2, 2}, {1, 2}, {}};
  auto f = rig.make(plus_constant({2, 2}), {}, {c});
  kernels::Tensor x = rig({1, 2, 3, 4}, {2, 2});
  CHECK(rig.read(call(*f, {x})[0]) == Floats{11, 32, 23, 44});
  rig.set(c, 1, 200);
  CHECK(rig.read(call(*f, {x})[0]) == Floats{11, 32, 203, 44});
  CHECK(figure(*f, "recordings") == 1);
}

TEST_CASE("who holds more than there are sets gets more of them", "[here]") {
  Rig rig;
  const int64_t count = 3 << 20;  // of 4 bytes; two outputs, so 256 MiB are ten sets
  auto f = rig.make(doubled({count}));
  const kernels::Tensor x = blank(rig.backend, {count});
  std::deque<kernels::Tensor> held;
  for (int i = 0; i < 40; ++i) {
    rig.set(x, 0, static_cast<float>(i));
    const bool made = f->has_free_outputs() || f->make_room_for_outputs();
    CHECK(made);
    const int copies = rig.backend.copies;
    held.push_back(call(*f, {x})[1]);
    CHECK(rig.backend.copies == copies);
    if (held.size() > 6) held.pop_front();
    for (size_t k = 0; k < held.size(); ++k)
      CHECK(rig.read(held[k]).front() ==
            3.0f * static_cast<float>(i + 1 - static_cast<int>(held.size() - k)));
  }
  CHECK(figure(*f, "recordings") == 7);
  while (f->has_free_outputs() || f->make_room_for_outputs()) held.push_back(call(*f, {x})[1]);
  CHECK(figure(*f, "recordings") == 10);
}

// The other executable moves its output to a block of its own when too many are held; a recording that held
// the old address would read its next output.
TEST_CASE("a captured tensor that is another executable's output is never read stale", "[here]") {
  Rig rig;
  auto f = rig.make(doubled());
  const kernels::Tensor captured = call(*f, {rig({1, 2, 3})})[0];
  auto g = rig.make(plus_constant(), {}, {captured});
  const kernels::Tensor x = rig({0, 0, 0});
  CHECK(rig.read(call(*g, {x})[0]) == Floats{2, 4, 6});
  std::vector<kernels::Tensor> held;
  while (f->has_free_outputs()) held.push_back(call(*f, {rig({100, 100, 100})})[0]);
  for (int i = 0; i < 100; ++i) held.push_back(call(*f, {rig({100, 100, 100})})[0]);
  CHECK(rig.read(call(*g, {x})[0]) == Floats{2, 4, 6});
}

TEST_CASE("a thousand replays hold no more memory than one, and a leak is noticed", "[here]") {
  Rig rig;
  for (const Graph& graph : {doubled({2, 2}), round_trip(), round_trip(false)}) {
    auto f = rig.make(graph);
    auto replay = [&](int times, std::vector<kernels::Tensor>* leak) {
      for (int i = 0; i < times; ++i) {
        const auto results = call(*f, {rig({1, 2, 3, 4}, {2, 2})});
        if (leak && i % 100 == 0) leak->push_back(results[0]);
      }
      return rig.backend.live();
    };
    const int settled = replay(5, nullptr);
    CHECK(replay(1000, nullptr) == settled);
    std::vector<kernels::Tensor> leak;
    CHECK(replay(1000, &leak) == settled + 10 * 2);  // a set of two outputs each
  }
  CHECK(rig.backend.live() == 0);
}

TEST_CASE("with capture off nothing is recorded and inputs are followed", "[here]") {
  Rig rig;
  planner::Policy policy;
  policy.capture = false;
  auto f = rig.make(doubled(), policy);
  std::vector<kernels::Tensor> held;
  for (int i = 0; i < 5; ++i) {
    const float v = static_cast<float>(i);
    const kernels::Tensor x = rig({v, v, v});
    const int allocations = rig.backend.allocations();
    for (kernels::Tensor& t : call(*f, {x})) held.push_back(std::move(t));
    CHECK(rig.backend.allocations() == allocations + 2);  // the outputs, and no copy of the input
  }
  for (int i = 0; i < 5; ++i) CHECK(rig.read(held[static_cast<size_t>(2 * i + 1)]) == Floats(3, 3.0f * i));
  CHECK(figure(*f, "recordings") == 0);
  CHECK(figure(*f, "captured_partitions") == 0);
  held.clear();
  CHECK(rig.backend.live() == 0);
}

TEST_CASE("an error while recording is returned, and the next call records anew", "[here]") {
  Rig rig;
  auto f = rig.make(round_trip());
  kernels::Tensor x = rig({1, 2, 3, 4}, {2, 2});
  for (int launch : {1, 2, 3}) {  // in the first partition, the second captured one, the eager one
    rig.backend.fail_at_launch = launch;
    const auto failed = f->call({&x, 1});
    REQUIRE_FALSE(failed);
    CHECK(failed.error().code == Code::OutOfMemory);
    CHECK(x.storage.use_count() == 1);
  }
  CHECK(rig.read(call(*f, {x})[0]) == Floats{4, 36, 16, 64});
}

TEST_CASE("two executables of one plan share no outputs", "[here]") {
  Rig rig;
  auto f = rig.make(doubled()), g = rig.make(doubled());
  const kernels::Tensor a = rig({1, 2, 3}), b = rig({10, 20, 30});
  const auto from_f = call(*f, {a}), from_g = call(*g, {b});
  CHECK(rig.read(from_f[1]) == Floats{3, 6, 9});
  CHECK(rig.read(from_g[1]) == Floats{30, 60, 90});
  for (const std::byte* address : addresses(*f)) CHECK(std::ranges::count(addresses(*g), address) == 0);
  g.reset();
  CHECK(rig.read(from_g[1]) == Floats{30, 60, 90});  // outputs outlive their executable
  CHECK(rig.read(call(*f, {b})[1]) == Floats{30, 60, 90});
}

}  // namespace peri::test
