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
    storages.push_back(*backend->allocate(numel(shape) * 4, place));
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
      auto storage = a.backend->allocate(bytes, place);
      REQUIRE(storage);
      CHECK((*storage)->bytes() == bytes);
      CHECK((*storage)->place() == place);
      CHECK(reinterpret_cast<uintptr_t>((*storage)->data()) % 64 == 0);
      CHECK_FALSE(a.backend->symmetric_group((*storage)->data()));
      const int64_t words = bytes / 4;
      const Operand all{(*storage)->data(), {DType::f32, View::contiguous({words})}};
      a.write(all, Floats(static_cast<size_t>(words), 3));
      CHECK(a.read(all) == Floats(static_cast<size_t>(words), 3));
    }
  auto refused = a.backend->allocate(int64_t(1) << 50, Place::device);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::OutOfMemory);
  CHECK_THAT(refused.error().message, Catch::Contains("1048576.0 GiB of device memory"));
  CHECK_FALSE(a.backend->allocate(-1, Place::device));
  CHECK_FALSE(a.backend->allocate(INT64_MAX, Place::host));
  CHECK(a.read(a.make({2}, Place::device, {1, 2})) == Floats{1, 2});  // and it goes on
}

TEST_CASE("launches run at once, or when the recording is replayed", "[here]") {
  Arrays a;
  Operand x = a.make({5}, Place::device, {0, 1, 2, 3, 4}), y = a.make({5}, Place::device),
          z = a.make({5}, Place::device, Floats(5, -1));
  REQUIRE(a.backend->launch(doubling(), {&x, 1}, {&y, 1}));
  CHECK(a.read(y) == Floats{0, 2, 4, 6, 8});

  REQUIRE(a.backend->begin_capture());
  CHECK_FALSE(a.backend->begin_capture());
  REQUIRE(a.backend->launch(doubling(), {&x, 1}, {&y, 1}));
  REQUIRE(a.backend->launch(doubling(), {&y, 1}, {&z, 1}));
  auto recording = a.backend->end_capture();
  REQUIRE(recording);
  CHECK((*recording)->call_count() == 2);
  CHECK_FALSE(a.backend->end_capture());
  CHECK(a.read(z) == Floats(5, -1));
  a.write(x, {1, 1, 1, 1, 10});
  REQUIRE(a.backend->replay(**recording));
  CHECK(a.read(z) == Floats{4, 4, 4, 4, 40});
}

TEST_CASE("an abandoned capture leaves nothing", "[here]") {
  Arrays a;
  Operand x = a.make({5}, Place::device), y = a.make({5}, Place::device);
  REQUIRE(a.backend->begin_capture());
  REQUIRE(a.backend->launch(doubling(), {&x, 1}, {&y, 1}));
  KernelSpec unsupported{.op = Op::input};
  CHECK_FALSE(a.backend->launch(unsupported, {&x, 1}, {&y, 1}));  // an error does not end the capture
  a.backend->abandon_capture();
  REQUIRE(a.backend->begin_capture());
  auto empty = a.backend->end_capture();
  REQUIRE(empty);
  CHECK((*empty)->call_count() == 0);
}

TEST_CASE("copies take any strides; those between places are not captured", "[here]") {
  Arrays a;
  Operand x = a.make({2, 3}, Place::host), y = a.make({3, 2}, Place::device),
          z = a.make({3, 2}, Place::device);
  std::iota(reinterpret_cast<float*>(x.data), reinterpret_cast<float*>(x.data) + 6, 0.0f);
  Operand transposed{x.data, {DType::f32, {{3, 2}, {1, 3}, 0}}};
  REQUIRE(a.backend->copy(transposed, y));
  CHECK(a.read(y) == Floats{0, 3, 1, 4, 2, 5});
  REQUIRE(a.backend->begin_capture());
  Status between = a.backend->copy(transposed, y);
  REQUIRE_FALSE(between);
  CHECK(between.error().code == Code::Unsupported);
  CHECK(a.backend->copy(y, z));
  auto recording = a.backend->end_capture();
  REQUIRE(recording);
  REQUIRE(a.backend->replay(**recording));
  CHECK(a.read(z) == Floats{0, 3, 1, 4, 2, 5});
}

TEST_CASE("an exchange cannot be captured, and a recording not replayed into another", "[here]") {
  Arrays a;
  REQUIRE(a.backend->begin_capture());
  auto empty = a.backend->end_capture();
  REQUIRE(empty);
  REQUIRE(a.backend->begin_capture());
  CHECK_FALSE(a.backend->exchange(world_group(1), "", "x"));
  CHECK_FALSE(a.backend->replay(**empty));
  a.backend->abandon_capture();
  CHECK(a.backend->exchange(world_group(1), "mine", "x") == std::vector<std::string>{"mine"});
  CHECK(a.backend->name() == (tested.is_cuda ? "cuda" : "host"));
}
