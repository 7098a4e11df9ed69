// The backend around its collectives: memory, launches, copies between places, and what may and may not be
// captured.
#include <catch2/catch.hpp>

#include <numeric>

#include "tests/support/collective_case.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::test;

namespace {

using Floats = std::vector<float>;

struct Arrays {
  std::unique_ptr<Backend> backend = *tested.create(job_options(1));
  std::vector<std::shared_ptr<Storage>> storages;
  Operand make(Shape shape, Place place, const Floats& values = {}) {
    storages.push_back(*backend->allocate(Bytes(numel(shape) * 4), place));
    const Operand operand{storages.back()->data(), {DType::f32, View::contiguous(shape)}};
    if (!values.empty()) write(operand, values);
    return operand;
  }
  void write(const Operand& to, const Floats& values) {
    REQUIRE(set_bytes(*backend, to, {reinterpret_cast<const char*>(values.data()), values.size() * 4}));
  }
  Floats read(const Operand& from) {
    auto bytes = bytes_of(*backend, from);
    REQUIRE(bytes);
    Floats values(bytes->size() / 4);
    if (!values.empty()) std::memcpy(values.data(), bytes->data(), bytes->size());
    return values;
  }
};

// y = x + x, fused.
KernelSpec doubling() {
  KernelSpec spec;
  spec.fused = {
      .operand_dtypes = {DType::f32}, .instructions = {{Op::add, {0, 0}, DType::f32}}, .results = {1}};
  return spec;
}

}  // namespace

TEST_CASE("blocks of either place are aligned, large enough and refused with the sizes", "[here]") {
  Arrays a;
  for (Place place : {Place::device, Place::host})
    for (int64_t bytes : {0, 1, 63, 257, 1000, 4097, 100'000, 5 << 20, 70 << 20}) {
      auto storage = a.backend->allocate(Bytes(bytes), place);
      REQUIRE(storage);
      CHECK((*storage)->bytes() == Bytes(bytes));
      CHECK((*storage)->place() == place);
      CHECK(reinterpret_cast<uintptr_t>((*storage)->data()) % 64 == 0);
      CHECK_FALSE(a.backend->symmetric_group((*storage)->data()));
      const int64_t words = bytes / 4;
      const Operand all{(*storage)->data(), {DType::f32, View::contiguous({words})}};
      a.write(all, Floats(static_cast<size_t>(words), 3));
      CHECK(a.read(all) == Floats(static_cast<size_t>(words), 3));
    }
  auto refused = a.backend->allocate(Bytes(int64_t(1) << 50), Place::device);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::OutOfMemory);
  CHECK_THAT(refused.error().message, Catch::Contains("1048576.0 GiB of device memory"));
  CHECK_FALSE(a.backend->allocate(Bytes(-1), Place::device));
  CHECK_FALSE(a.backend->allocate(Bytes(INT64_MAX), Place::host));
  CHECK(a.read(a.make({2}, Place::device, {1, 2})) == Floats{1, 2});  // and it goes on
}

TEST_CASE("launches run at once, or when the recording is replayed", "[here]") {
  Arrays a;
  Operand x = a.make({5}, Place::device, {0, 1, 2, 3, 4}), y = a.make({5}, Place::device),
          z = a.make({5}, Place::device, Floats(5, -1));
  REQUIRE(a.backend->launch(doubling(), {&x, 1}, {&y, 1}));
  CHECK(a.read(y) == Floats{0, 2, 4, 6, 8});

  const std::vector<ProgramStep> steps{KernelStep{doubling(), {x}, {y}, {}},
                                       KernelStep{doubling(), {y}, {z}, {}}};
  for (Marks marks : {Marks::none, Marks::between_steps}) {
    a.write(x, {0, 1, 2, 3, 4});
    a.write(z, Floats(5, -1));
    auto recording = a.backend->prepare(steps, marks);
    REQUIRE(recording);
    CHECK((*recording)->step_count() == 2);
    CHECK((*recording)->marks().size() == (marks == Marks::none ? 0 : 3));
    CHECK(a.read(z) == Floats(5, -1));
    a.write(x, {1, 1, 1, 1, 10});
    REQUIRE(a.backend->replay(**recording));
    CHECK(a.read(z) == Floats{4, 4, 4, 4, 40});
    REQUIRE(a.backend->launch(doubling(), {&z, 1}, {&x, 1}));  // beside recordings calls run at once
    CHECK(a.read(x) == Floats{8, 8, 8, 8, 80});
  }
}

TEST_CASE("a recording follows its blocks where they move", "[here]") {
  Arrays a;
  if (!a.backend->follows_blocks()) return;
  Operand x = a.make({4}, Place::device, {0, 1, 2, 3}), y = a.make({4}, Place::device, Floats(4, -1));
  const Operand fixed = a.make({2}, Place::device), x2 = a.make({4}, Place::device, {10, 20, 30, 40}),
                y2 = a.make({4}, Place::device, Floats(4, -1));
  x.block = 2;
  y.block = 0;  // and nothing lies in block 1
  Operand end = x;
  end.data += 8;
  end.block_offset = Bytes(8);
  end.type = fixed.type;
  auto recording = a.backend->prepare(
      std::vector<ProgramStep>{KernelStep{doubling(), {x}, {y}, {}}, CopyStep{end, fixed, {}}}, Marks::none);
  REQUIRE(recording);
  REQUIRE(a.backend->replay(**recording));  // where they were
  CHECK(a.read(y) == Floats{0, 2, 4, 6});
  CHECK(a.read(fixed) == Floats{2, 3});
  (*recording)->move(std::vector<std::byte*>{y2.data, nullptr, x2.data});
  REQUIRE(a.backend->replay(**recording));
  CHECK(a.read(y2) == Floats{20, 40, 60, 80});
  CHECK(a.read(y) == Floats{0, 2, 4, 6});
  CHECK(a.read(fixed) == Floats{30, 40});
  (*recording)->move(std::vector<std::byte*>{x2.data, nullptr, y2.data});  // in exchange
  REQUIRE(a.backend->replay(**recording));
  CHECK(a.read(x2) == Floats{40, 80, 120, 160});
  CHECK(a.read(fixed) == Floats{60, 80});
}

TEST_CASE("marks of a recording are passed in order by every replay", "[here]") {
  Arrays a;
  Operand x = a.make({1000}, Place::device, Floats(1000, 1)), y = a.make({1000}, Place::device);
  const std::vector<ProgramStep> steps{KernelStep{doubling(), {x}, {y}, {}}, CopyStep{y, x, {}}};
  auto recording = a.backend->prepare(steps, Marks::between_steps);
  REQUIRE(recording);
  std::vector<const Mark*> marks;
  for (const auto& mark : (*recording)->marks()) marks.push_back(mark.get());
  REQUIRE(marks.size() == 3);
  int64_t last = 0;
  for (int replay = 0; replay < 2; ++replay) {
    REQUIRE(a.backend->replay(**recording));
    REQUIRE(a.backend->synchronize());
    for (const auto& time : a.backend->times(marks)) {
      REQUIRE(time);
      CHECK(*time >= last);
      last = *time;
    }
  }
}

TEST_CASE("a step that cannot be prepared names its line, and leaves nothing", "[here]") {
  Arrays a;
  Operand x = a.make({5}, Place::device, {1, 2, 3, 4, 5}), y = a.make({5}, Place::device, Floats(5, -1));
  const std::vector<ProgramStep> steps{KernelStep{doubling(), {x}, {y}, {"a.lua", 1}},
                                       KernelStep{{.op = Op::input}, {x}, {y}, {"a.lua", 2}}};
  auto refused = a.backend->prepare(steps, Marks::none);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().where == Origin{"a.lua", 2});
  CHECK(a.read(y) == Floats(5, -1));
  auto empty = a.backend->prepare({}, Marks::none);
  REQUIRE(empty);
  CHECK((*empty)->step_count() == 0);
  REQUIRE(a.backend->replay(**empty));
  CHECK(a.read(y) == Floats(5, -1));
}

TEST_CASE("copies take any strides; those between places are not recorded", "[here]") {
  Arrays a;
  Operand x = a.make({2, 3}, Place::host), y = a.make({3, 2}, Place::device),
          z = a.make({3, 2}, Place::device);
  std::iota(reinterpret_cast<float*>(x.data), reinterpret_cast<float*>(x.data) + 6, 0.0f);
  Operand transposed{x.data, {DType::f32, {{3, 2}, {1, 3}, {}}}};
  REQUIRE(a.backend->copy(transposed, y));
  CHECK(a.read(y) == Floats{0, 3, 1, 4, 2, 5});
  auto between =
      a.backend->prepare(std::vector<ProgramStep>{CopyStep{transposed, y, {"a.lua", 7}}}, Marks::none);
  REQUIRE_FALSE(between);
  CHECK(between.error().code == Code::Unsupported);
  CHECK(between.error().where == Origin{"a.lua", 7});
  auto recording = a.backend->prepare(std::vector<ProgramStep>{CopyStep{y, z, {}}}, Marks::none);
  REQUIRE(recording);
  REQUIRE(a.backend->replay(**recording));
  CHECK(a.read(z) == Floats{0, 3, 1, 4, 2, 5});
}

TEST_CASE("a rank alone exchanges with itself", "[here]") {
  Arrays a;
  CHECK(a.backend->exchange(world_group(1), "mine", "x") == std::vector<std::string>{"mine"});
  CHECK(a.backend->name() == (tested.is_cuda ? "cuda" : "host"));
}
