// The backend around its collectives: launches, copies between places, and what may and may not be captured.
#include <catch2/catch.hpp>

#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::test;

namespace {

struct Arrays {
  std::unique_ptr<Backend> backend = *create_host_backend(job_options(1));
  std::vector<std::shared_ptr<Storage>> storages;
  Operand make(Shape shape, Place place) {
    storages.push_back(*backend->allocate(numel(shape) * 4, place));
    return {storages.back()->data(), {DType::f32, View::contiguous(shape)}};
  }
  static float* floats(const Operand& operand) { return reinterpret_cast<float*>(operand.data); }
};

// y = x + x, fused.
KernelSpec doubling() {
  KernelSpec spec;
  spec.fused = {
      .operand_dtypes = {DType::f32}, .instructions = {{Op::add, {0, 0}, DType::f32}}, .results = {1}};
  return spec;
}

}  // namespace

TEST_CASE("launches run at once, or when the recording is replayed") {
  Arrays a;
  Operand x = a.make({5}, Place::device), y = a.make({5}, Place::device), z = a.make({5}, Place::device);
  for (int i = 0; i < 5; ++i) a.floats(x)[i] = static_cast<float>(i), a.floats(z)[i] = -1;
  REQUIRE(a.backend->launch(doubling(), {&x, 1}, {&y, 1}));
  CHECK(a.floats(y)[4] == 8);

  REQUIRE(a.backend->begin_capture());
  CHECK_FALSE(a.backend->begin_capture());
  REQUIRE(a.backend->launch(doubling(), {&x, 1}, {&y, 1}));
  REQUIRE(a.backend->launch(doubling(), {&y, 1}, {&z, 1}));
  CHECK(a.floats(z)[4] == -1);
  auto recording = a.backend->end_capture();
  REQUIRE(recording);
  CHECK((*recording)->call_count() == 2);
  CHECK_FALSE(a.backend->end_capture());
  a.floats(x)[4] = 10;
  REQUIRE(a.backend->replay(**recording));
  CHECK(a.floats(z)[4] == 40);
}

TEST_CASE("an abandoned capture leaves nothing") {
  Arrays a;
  Operand x = a.make({5}, Place::device), y = a.make({5}, Place::device);
  REQUIRE(a.backend->begin_capture());
  REQUIRE(a.backend->launch(doubling(), {&x, 1}, {&y, 1}));
  KernelSpec unsupported{.op = Op::input};
  CHECK_FALSE(a.backend->launch(unsupported, {&x, 1}, {&y, 1}));  // an error does not end the capture
  a.backend->abandon_capture();
  REQUIRE(a.backend->begin_capture());
  CHECK((*a.backend->end_capture())->call_count() == 0);
}

TEST_CASE("copies take any strides; those between places are not captured") {
  Arrays a;
  Operand x = a.make({2, 3}, Place::host), y = a.make({3, 2}, Place::device),
          z = a.make({3, 2}, Place::device);
  for (int i = 0; i < 6; ++i) a.floats(x)[i] = static_cast<float>(i);
  Operand transposed{x.data, {DType::f32, {{3, 2}, {1, 3}, 0}}};
  REQUIRE(a.backend->copy(transposed, y));
  CHECK(std::vector<float>(a.floats(y), a.floats(y) + 6) == std::vector<float>{0, 3, 1, 4, 2, 5});
  REQUIRE(a.backend->begin_capture());
  Status between = a.backend->copy(transposed, y);
  REQUIRE_FALSE(between);
  CHECK(between.error().code == Code::Unsupported);
  CHECK(a.backend->copy(y, z));
  auto recording = a.backend->end_capture();
  REQUIRE(a.backend->replay(**recording));
  CHECK(a.floats(z)[1] == 3);
}

TEST_CASE("an exchange cannot be captured, and a recording not replayed into another") {
  Arrays a;
  REQUIRE(a.backend->begin_capture());
  auto empty = a.backend->end_capture();
  REQUIRE(a.backend->begin_capture());
  CHECK_FALSE(a.backend->exchange(world_group(1), "", "x"));
  CHECK_FALSE(a.backend->replay(**empty));
  a.backend->abandon_capture();
  CHECK(a.backend->exchange(world_group(1), "mine", "x") == std::vector<std::string>{"mine"});
  CHECK(a.backend->name() == "host");
}
