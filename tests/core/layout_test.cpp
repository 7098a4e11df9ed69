// Windows of views against brute force: element i of the view must be the element that the op's definition
// says.
#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>
#include <random>

#include "core/ops/kernel.hpp"
#include "tests/core/types.hpp"

using namespace peri;

namespace {

// The storage positions that a window visits, in row-major order.
std::vector<int64_t> positions(const View& view) {
  std::vector<int64_t> result;
  for (int64_t i = 0; i < numel(view.shape); ++i) {
    int64_t rest = i, at = view.offset.count();
    for (int d = view.shape.rank() - 1; d >= 0; --d) {
      at += rest % view.shape[d] * view.strides[d];
      rest /= view.shape[d];
    }
    result.push_back(at);
  }
  return result;
}

View apply(Op op, Attributes attributes, const View& in, int rank = 0) {
  const std::vector<TensorType> operands = {f32(in.shape)};
  attributes = *complete(op, std::move(attributes), operands);
  return *view_of(op, attributes, in, infer(op, operands, attributes)->shape, rank);
}

AttributeValue n(int64_t value) {
  return value;
}

}  // namespace

TEST_CASE("windows of views visit the elements that the op names") {
  const View x = View::contiguous({2, 3, 4});  // element [i,j,k] lies at 12i + 4j + k
  CHECK(apply(Op::permute, {{"dims", Ints{2, 0, 1}}}, x) == View{{4, 2, 3}, {1, 12, 4}, {}});
  CHECK(apply(Op::slice, {{"dim", n(2)}, {"start", n(1)}, {"stop", n(4)}, {"step", n(2)}}, x) ==
        View{{2, 3, 2}, {12, 4, 2}, Elements(1)});
  CHECK(apply(Op::shard, {{"dim", n(2)}, {"group", Group{{5, 7}}}}, x, 7) ==
        View{{2, 3, 2}, {12, 4, 1}, Elements(2)});
  CHECK(apply(Op::expand, {{"shape", Ints{5, 3, 4}}}, View::contiguous({3, 1})) ==
        View{{5, 3, 4}, {0, 1, 0}, {}});
  CHECK(apply(Op::slice, {{"dim", n(0)}, {"start", n(2)}, {"stop", n(2)}}, x).offset ==
        Elements());  // empty, but inside
  const int64_t far =
      std::numeric_limits<int64_t>::max();  // a step past everything must not overflow the stride
  CHECK(apply(Op::slice, {{"dim", n(0)}, {"start", n(1)}, {"stop", n(2)}, {"step", n(far)}}, x) ==
        View{{1, 3, 4}, {12, 4, 1}, Elements(12)});
  CHECK(apply(Op::reshape, {{"shape", Ints{6, 4}}}, x) == View::contiguous({6, 4}));
  CHECK(apply(Op::unfold, {{"dim", n(1)}, {"size", n(2)}, {"step", n(1)}}, x) ==
        View{{2, 2, 4, 2}, {12, 4, 1, 4}, {}});
  CHECK(apply(Op::unfold, {{"dim", n(2)}, {"size", n(3)}, {"step", n(far)}}, x) ==
        View{{2, 3, 1, 3}, {12, 4, 1, 1}, {}});
}

TEST_CASE("a window that meets an element twice repeats") {
  // By brute force over strides, each window within 100 elements of its offset.
  std::mt19937 random(3);
  int repeated = 0, apart = 0;
  for (int i = 0; i < 3000; ++i) {
    View view{{}, {}, Elements(100)};
    for (int d = 0; d < 3; ++d) {
      view.shape.push_back(1 + static_cast<int64_t>(random() % 3));
      view.strides.push_back(static_cast<int64_t>(random() % 33) - 16);
    }
    std::vector<int64_t> all = positions(view);
    std::ranges::sort(all);
    const bool meets = std::ranges::adjacent_find(all) != all.end();
    if (meets) CHECK(view.repeats());
    ++(meets ? repeated : apart);
  }
  CHECK(repeated > 300);
  CHECK(apart > 300);
  // Whatever is cut and permuted of a tensor may be written; overlapping windows may not.
  const View x = View::contiguous({6, 4});
  View cut = apply(Op::slice, {{"dim", n(0)}, {"start", n(1)}, {"stop", n(6)}, {"step", n(2)}}, x);
  cut = apply(Op::permute, {{"dims", Ints{1, 0}}}, cut);
  CHECK(!cut.repeats());
  CHECK(!apply(Op::unfold, {{"dim", n(0)}, {"size", n(3)}, {"step", n(3)}}, x).repeats());
  CHECK(apply(Op::unfold, {{"dim", n(0)}, {"size", n(3)}, {"step", n(2)}}, x).repeats());
  CHECK(!View{{0, 2}, {0, 0}, {}}.repeats());
}

TEST_CASE("windows compose: a slice of a transposed window") {
  View x = View::contiguous({4, 6});
  x = apply(Op::permute, {{"dims", Ints{1, 0}}}, x);
  x = apply(Op::slice, {{"dim", n(0)}, {"start", n(1)}, {"stop", n(6)}, {"step", n(2)}}, x);
  x = apply(Op::slice, {{"dim", n(1)}, {"start", n(2)}, {"stop", n(4)}}, x);
  CHECK(positions(x) ==
        std::vector<int64_t>{13, 19, 15, 21, 17, 23});  // [j,i] lies at 6i + j; j = 1,3,5 and i = 2,3
}

TEST_CASE("a reshape shares storage exactly when strides can express it") {
  // Whether some strides visit the same positions is decided by trying: each dimension's stride is known from
  // its first step.
  auto expressible = [](const View& in, const Shape& shape) {
    const std::vector<int64_t> wanted = positions(in);
    View out{shape, contiguous_strides(shape), in.offset};
    const Strides steps = contiguous_strides(shape);
    for (int d = 0; d < shape.rank(); ++d)
      if (shape[d] > 1) out.strides[d] = wanted[steps[d]] - wanted[0];
    return positions(out) == wanted;
  };
  std::mt19937 random(1);
  int shared = 0, copied = 0;
  for (int round = 0; round < 20000; ++round) {
    View in = View::contiguous({});
    int64_t stride = 1;
    Ints sizes;
    for (int d = static_cast<int>(random() % 4); d >= 0; --d) {
      static constexpr int64_t kSizes[] = {1, 2, 2, 3, 4, 6};
      sizes.push_back(kSizes[random() % 6]);
    }
    for (auto size = sizes.rbegin(); size != sizes.rend(); ++size) {
      const bool repeated = random() % 6 == 0, gap = random() % 4 == 0;
      if (gap) stride += 1;
      in.shape.insert(0, *size);
      in.strides.insert(0, repeated ? 0 : stride);
      if (!repeated) stride *= *size;
    }
    if (random() % 3 == 0 && in.shape.rank() > 1) {
      std::swap(in.shape[0], in.shape[1]);
      std::swap(in.strides[0], in.strides[1]);
    }
    Shape out;
    for (int64_t rest = numel(in.shape); rest > 1 || random() % 3 == 0;) {
      int64_t size = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(std::min<int64_t>(rest, 6)));
      while (rest % size != 0) --size;
      if (out.rank() == kMaxRank - 1) size = rest;
      if (out.rank() == kMaxRank) break;
      out.push_back(size);
      rest /= size;
    }
    if (numel(out) != numel(in.shape)) continue;
    const std::optional<View> view = view_of(Op::reshape, {}, in, out, 0);
    INFO(in.shape.to_string() << in.strides.to_string() << " -> " << out.to_string());
    REQUIRE(view.has_value() == expressible(in, out));
    if (view) REQUIRE(positions(*view) == positions(in));
    ++(view ? shared : copied);
  }
  CHECK(shared > 1000);
  CHECK(copied > 1000);
}

TEST_CASE("allocators print") {
  CHECK(to_string(Allocator{}) == "default");
  CHECK(to_string(Allocator{SymmetricAllocator{Group{{0, 2}}}}) == "symmetric{0,2}");
}

TEST_CASE("kernels are named by what they compute") {
  KernelSpec matmul{Op::matmul};
  CHECK(matmul.name() == "matmul");
  KernelSpec fused;
  fused.fused = {
      {DType::f32, DType::bf16},
      {{Op::full, {}, DType::f32, 0.5}, {Op::mul, {0, 2}, DType::f32}, {Op::add, {3, 1}, DType::f32}},
      {4}};
  CHECK(fused.name() == "fused_mul_add");
  CHECK(fused.fused.to_string() ==
        "(f32, bf16) r2 = full(0.5) : f32; r3 = mul(r0, r2) : f32; r4 = add(r3, r1) : f32 -> r4");
  KernelSpec single;
  single.fused = {{DType::f32}, {{Op::exp, {0}, DType::f32}}, {1}};
  CHECK(single.name() == "exp");
  KernelSpec nan;
  nan.fused = {{}, {{Op::full, {}, DType::f32, NAN}}, {0}};
  CHECK(nan == nan);
  CHECK(nan.name() == "full");
}
