// Symmetric inputs and comm buffers in recordings, on two ranks: a symmetric input is used where it lies, and
// another one is never taken for it.
#include <fmt/format.h>
#include <sys/mman.h>

#include "tests/cudagraph/rig.hpp"

namespace peri::test {
namespace {

const Group kPair{{0, 1}};

planner::Policy with(std::string algorithm) {
  planner::Policy policy;
  policy.algorithms[Op::all_reduce] = [algorithm](const planner::OpContext&) -> Result<std::string> {
    return algorithm;
  };
  return policy;
}

kernels::Tensor symmetric(kernels::Backend& backend, float value) {
  const TensorType type{DType::f32, {3}, Place::device};
  kernels::Tensor t{*backend.allocate_symmetric(type.bytes(), kPair), type, View::contiguous({3})};
  write(backend, t, Floats(3, value));
  return t;
}

// "" or what is wrong; the ranks' values are `mine` and `theirs`.
std::string expect_sum(kernels::Backend& backend, cudagraph::Executable& f, const kernels::Tensor& x,
                       float sum, const std::string& when) {
  auto outputs = f.call({&x, 1});
  if (!outputs) return when + ": " + outputs.error().to_string();
  const Floats got = read(backend, (*outputs)[0]);
  if (got != Floats(3, sum)) return fmt::format("{}: got {}, expected {}", when, got[0], sum);
  return {};
}

#define EXPECT_EMPTY(expression) \
  if (std::string wrong = (expression); !wrong.empty()) return wrong

}  // namespace

TEST_CASE("a symmetric input is used where it lies, and recorded anew elsewhere") {
  const auto results = run_processes(job_options(2), [](kernels::Backend& backend) -> std::string {
    const float rank = static_cast<float>(backend.job().rank);
    Program p;
    const NodeId x = p.input(DType::f32, {3}, SymmetricAllocator{kPair});
    cudagraph::SharedMemory memory(backend);
    auto made = cudagraph::Executable::create(
        planned(p.returning({p.all_reduce(x, kPair)}), with("one_shot"), {backend.job().rank, 2}), memory,
        {});
    if (!made) return made.error().to_string();
    cudagraph::Executable& f = **made;
    if (figure(f, "p2p_allocs") != 0 || figure(f, "input_copies") + figure(f, "identity_copies") != 0)
      return "the input is copied";
    std::vector<kernels::Tensor> inputs;
    for (int i = 0; i < 6; ++i) inputs.push_back(symmetric(backend, 10.0f * static_cast<float>(i) + rank));
    for (int round = 0; round < 2; ++round)
      for (int i = 0; i < 6; ++i) {
        const kernels::Tensor& x_i = inputs[static_cast<size_t>(i)];
        EXPECT_EMPTY(
            expect_sum(backend, f, x_i, 20.0f * static_cast<float>(i) + 1, fmt::format("input {}", i)));
        if (f.address(f.plan().inputs[0]) != x_i.data()) return "it is not used where it lies";
      }
    // Freed and allocated again: on rank 0 mostly at the same address, on rank 1, where something else has
    // taken it, at another.
    int same = 0;
    const std::byte* last = nullptr;
    for (int i = 0; i < 8; ++i) {
      if (rank == 1) mmap(nullptr, 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      const kernels::Tensor fresh = symmetric(backend, static_cast<float>(i) + rank);
      same += fresh.data() == last;
      last = fresh.data();
      EXPECT_EMPTY(
          expect_sum(backend, f, fresh, 2.0f * static_cast<float>(i) + 1, fmt::format("fresh input {}", i)));
    }
    if (!tested.is_cuda && rank == 0 && same == 0) return "no address came again, so nothing was tested";
    return "";
  });
  check_well(results);
}

TEST_CASE("comm buffers keep their addresses, and inputs are copied into them inside the recording") {
  for (const char* algorithm : {"one_shot", "two_shot", "multimem", "ll"}) {
    if (tested.is_cuda && std::string_view(algorithm) == "multimem") continue;
    const auto results = run_processes(job_options(2), [&](kernels::Backend& backend) -> std::string {
      const int rank = backend.job().rank;
      Program p;
      const NodeId x = p.input(DType::f32, {3});
      const NodeId once = p.all_reduce(x, kPair);
      const Graph graph = p.returning({p.all_reduce(p.op(Op::add, {once, x}), kPair)});
      cudagraph::SharedMemory memory(backend);
      auto made = cudagraph::Executable::create(planned(graph, with(algorithm), {rank, 2}), memory, {});
      if (!made) return made.error().to_string();
      cudagraph::Executable& f = **made;
      std::vector<const std::byte*> fixed;
      for (int i = 0; i < 10; ++i) {
        const float v = static_cast<float>(i), mine = v + static_cast<float>(rank);
        const kernels::Tensor t = tensor(backend, {mine, mine, mine});
        // once = 2 v + 1; once + x on both ranks: 3 v + 1 and 3 v + 2
        EXPECT_EMPTY(expect_sum(backend, f, t, 6 * v + 3, fmt::format("{}, call {}", algorithm, i)));
        if (i == 0) fixed = addresses(f);
        if (addresses(f) != fixed) return "a buffer has moved";
      }
      return "";
    });
    check_well(results);
  }
}

// Sums over the ranks of v, v + 1, ... in so many elements.
TEST_CASE("plans of a group share their comm buffers, also where a rank has dropped some of them") {
  const std::string algorithm = GENERATE("one_shot", "two_shot");
  const auto results = run_processes(job_options(2), [&](kernels::Backend& backend) -> std::string {
    const int rank = backend.job().rank;
    cudagraph::SharedMemory memory(backend);
    auto make = [&](int64_t count) {
      Program p;
      const NodeId twice = p.op(Op::mul, {p.input(DType::f32, {count}), p.full(DType::f32, {}, 2)});
      return cudagraph::Executable::create(
          planned(p.returning({p.all_reduce(twice, kPair)}), with(algorithm), {rank, 2}), memory, {});
    };
    // 2 (v + i) on rank 0, 2 (v + 1 + i) on rank 1
    auto check = [&](cudagraph::Executable& f, int64_t count, float v) -> std::string {
      Floats mine(static_cast<size_t>(count)), sum = mine;
      for (size_t i = 0; i < mine.size(); ++i) {
        mine[i] = v + static_cast<float>(i % 100) + static_cast<float>(rank);
        sum[i] = 4 * (v + static_cast<float>(i % 100)) + 2;
      }
      const kernels::Tensor x = tensor(backend, mine);
      auto outputs = f.call({&x, 1});
      if (!outputs) return outputs.error().to_string();
      return read(backend, (*outputs)[0]) == sum ? "" : fmt::format("{} elements: another sum", count);
    };
    std::vector<std::unique_ptr<cudagraph::Executable>> plans;
    std::vector<int64_t> counts;
    for (int64_t count : {100, 3000, 20'000, 7, 60'000, 500}) {
      auto made = make(count);
      if (!made) return made.error().to_string();
      if (figure(**made, "p2p_allocs") != 1) return "no comm buffer";
      plans.push_back(std::move(*made));
      counts.push_back(count);
      for (size_t i = 0; i < plans.size(); ++i)  // those that have moved, too
        EXPECT_EMPTY(check(*plans[i], counts[i], static_cast<float>(i)));
    }
    const Bytes held = memory.symmetric_bytes();
    if (held < Bytes(240'000) || held > Bytes(500'000)) return fmt::format("{} bytes", held.count());
    // Without synchronisation in between: the next plan overwrites what peers have read.
    for (int round = 0; round < 200; ++round)
      for (size_t i : {0, 1, 3, 5}) EXPECT_EMPTY(check(*plans[i], counts[i], static_cast<float>(round)));
    // Rank 0 has dropped all of its plans when the next is made.
    std::unique_ptr<cudagraph::Executable> last = std::move(plans[1]);
    plans.resize(rank == 0 ? 0 : plans.size());
    if (rank == 0) last.reset();
    auto made = make(800);
    if (!made) return made.error().to_string();
    for (int i = 0; i < 3; ++i) EXPECT_EMPTY(check(**made, 800, static_cast<float>(i)));
    plans.clear();
    last.reset();
    auto small = make(10);  // on both the large ones are gone
    if (!small) return small.error().to_string();
    EXPECT_EMPTY(check(**small, 10, 1));
    EXPECT_EMPTY(check(**made, 800, 2));
    made->reset();
    small->reset();
    return memory.symmetric_bytes() == Bytes() ? "" : "memory is left";
  });
  check_well(results);
}

}  // namespace peri::test
