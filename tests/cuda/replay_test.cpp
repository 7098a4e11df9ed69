// S3, S4 and S6 of planner/SYSTEMS.md on the device: where a captured partition's buffers lie, what is copied
// into them, and what memory of the GPU is used. Other processes on the GPUs would be measured, too.
#include <fmt/format.h>

#include "tests/cudagraph/rig.hpp"
#include "tests/kernels/cuda/free_memory.hpp"
#include "tests/support/collective_case.hpp"

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

// Of this rank's GPU, once all ranks are idle.
int64_t free_memory(kernels::Backend& backend) {
  const Group world = world_group(backend.job().world_size);
  static_cast<void>(backend.exchange(world, "", "idle"));
  const int64_t left = free_memory_of_gpu(backend.job().rank);
  static_cast<void>(backend.exchange(world, "", "measured"));
  return left;
}

kernels::Tensor numbers(kernels::Backend& backend, const Shape& shape, uint64_t seed) {
  const kernels::Tensor t = blank(backend, shape);
  Floats values(static_cast<size_t>(numel(shape)));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(element(seed, backend.job().rank, static_cast<int64_t>(i)));
  write(backend, t, values);
  return t;
}
// "" or the first element that is not the sum over the ranks of what `numbers` gave them.
std::string check_sum(kernels::Backend& backend, const kernels::Tensor& got, uint64_t seed) {
  const Floats values = read(backend, got);
  for (size_t i = 0; i < values.size(); ++i) {
    double sum = 0;
    for (int r = 0; r < backend.job().world_size; ++r) sum += element(seed, r, static_cast<int64_t>(i));
    if (values[i] != sum) return fmt::format("element {} is {}, not {}", i, values[i], sum);
  }
  return {};
}

// all_reduce of the input as it comes.
Graph sum_of_input(const Shape& shape) {
  Program p;
  return p.returning({p.all_reduce(p.input(DType::f32, shape), kPair)});
}

std::string check_plan(const cudagraph::Executable& f, bool staged) {
  if (figure(f, "partitions") != 1 || figure(f, "captured_partitions") != 1)
    return "not one captured partition";
  const double copies = staged ? 0 : 1;  // what is staged needs no symmetric operand
  if (figure(f, "p2p_allocs") != copies || figure(f, "input_copies") != copies ||
      figure(f, "identity_copies") != 0)
    return fmt::format("{} P2P allocations, {} input copies, {} identity copies", figure(f, "p2p_allocs"),
                       figure(f, "input_copies"), figure(f, "identity_copies"));
  return {};
}

}  // namespace

TEST_CASE("an ordinary input is copied once, inside the graph; buffers stay, memory does not grow") {
  const std::string algorithm = GENERATE("one_shot", "two_shot", "ll");
  const auto results = run_processes(job_options(2), [&](kernels::Backend& backend) -> std::string {
    cudagraph::SharedMemory memory(backend);
    auto made = cudagraph::Executable::create(
        planned(sum_of_input({64, 65}), with(algorithm), {backend.job().rank, 2}), memory, {});
    if (!made) return made.error().to_string();
    cudagraph::Executable& f = **made;
    if (auto wrong = check_plan(f, algorithm == "ll"); !wrong.empty()) return wrong;
    std::vector<kernels::Tensor> inputs;
    for (uint64_t seed = 0; seed < 4; ++seed) inputs.push_back(numbers(backend, {64, 65}, seed));
    std::vector<kernels::Tensor> held;  // the last outputs: the executable must leave them alone
    auto call = [&](uint64_t i, bool look) -> std::string {
      auto outputs = f.call({&inputs[i % 4], 1});
      if (!outputs) return outputs.error().to_string();
      held.push_back((*outputs)[0]);
      if (held.size() > 3) held.erase(held.begin());
      if (!look) return {};
      for (size_t k = 0; k < held.size(); ++k)
        if (auto wrong = check_sum(backend, held[k], (i + 1 - held.size() + k) % 4); !wrong.empty())
          return fmt::format("call {}: {}", i, wrong);
      return {};
    };
    for (uint64_t i = 0; i < 12; ++i)
      if (auto wrong = call(i, true); !wrong.empty()) return wrong;
    const auto fixed = addresses(f);
    int symmetric = 0;
    for (const std::byte* address : fixed) symmetric += backend.symmetric_group(address) != nullptr;
    if (symmetric != (algorithm == "ll" ? 0 : 1)) return fmt::format("{} symmetric buffers", symmetric);
    const int64_t before = free_memory(backend);
    const double recordings = figure(f, "recordings");
    for (uint64_t i = 12; i < 1012; ++i)
      if (auto wrong = call(i, i % 50 == 0); !wrong.empty()) return wrong;
    const int64_t after = free_memory(backend);
    if (addresses(f) != fixed) return "a buffer has moved";
    if (figure(f, "recordings") != recordings) return "recorded again";
    // The driver takes pieces of 64 KiB for graphs when it likes; our own blocks are far larger.
    if (after < before - (1 << 20)) return fmt::format("{} bytes of the GPU are gone", before - after);
    const kernels::Tensor leak = blank(backend, {16 << 20});  // that the measurement sees
    return free_memory(backend) > after - (60 << 20) ? "64 MiB were not noticed" : "";
  });
  check_well(results);
}

TEST_CASE(
    "a partition in between and what is hoisted into the one before use no more memory after 1,000 calls") {
  const auto results = run_processes(job_options(1), [&](kernels::Backend& backend) -> std::string {
    cudagraph::SharedMemory memory(backend);
    auto made = cudagraph::Executable::create(planned(round_trip(), {}, {0, 1}), memory, {});
    if (!made) return made.error().to_string();
    cudagraph::Executable& f = **made;
    const kernels::Tensor x = blank(backend, {2, 2});
    write(backend, x, {1, 2, 3, 4});
    auto call = [&]() -> std::string {
      auto outputs = f.call({&x, 1});
      if (!outputs) return outputs.error().to_string();
      return read(backend, (*outputs)[0]) == Floats{4, 36, 16, 64} ? "" : "other values";
    };
    for (int i = 0; i < 10; ++i)
      if (auto wrong = call(); !wrong.empty()) return wrong;
    const auto fixed = addresses(f);
    const int64_t before = free_memory(backend);
    for (int i = 0; i < 1000; ++i)
      if (auto wrong = call(); !wrong.empty()) return wrong;
    if (addresses(f) != fixed) return "a buffer has moved";
    const int64_t gone = before - free_memory(backend);
    return gone > 0 ? fmt::format("{} bytes of the GPU are gone", gone) : "";
  });
  check_well(results);
}

TEST_CASE("ordinary inputs of 8x8 to 1024x1024, all shapes in one process") {
  const std::string algorithm = GENERATE("one_shot", "two_shot", "ll");
  const auto results = run_processes(job_options(2), [&](kernels::Backend& backend) -> std::string {
    cudagraph::SharedMemory memory(backend);
    std::vector<std::unique_ptr<cudagraph::Executable>> all;
    std::vector<int64_t> sizes;
    for (int64_t size = 8; size <= 1024; size *= 2) sizes.push_back(size);
    for (int64_t size : sizes) {
      auto made = cudagraph::Executable::create(
          planned(sum_of_input({size, size}), with(algorithm), {backend.job().rank, 2}), memory, {});
      if (!made) return made.error().to_string();
      all.push_back(std::move(*made));
      if (auto wrong = check_plan(*all.back(), algorithm == "ll"); !wrong.empty()) return wrong;
    }
    for (uint64_t round = 0; round < 3; ++round)  // the second and third are replays, in another order
      for (size_t k = 0; k < sizes.size(); ++k) {
        const size_t which = round == 1 ? sizes.size() - 1 - k : k;
        const uint64_t seed = 10 * round + which;
        const kernels::Tensor x = numbers(backend, {sizes[which], sizes[which]}, seed);
        auto outputs = all[which]->call({&x, 1});
        if (!outputs) return outputs.error().to_string();
        if (auto wrong = check_sum(backend, (*outputs)[0], seed); !wrong.empty())
          return fmt::format("{0}x{0}: {1}", sizes[which], wrong);
      }
    return "";
  });
  check_well(results);
}

// All plans are kept; what each has to itself is given up once two others have been called since.
TEST_CASE("many shapes, in any order, take the memory of the largest") {
  const std::string algorithm = GENERATE("one_shot", "two_shot", "ll");
  const auto results = run_processes(job_options(2), [&](kernels::Backend& backend) -> std::string {
    constexpr int64_t kLargest = 1024, kStep = 64;
    cudagraph::SharedMemory memory(backend);
    std::vector<std::unique_ptr<cudagraph::Executable>> all;
    std::vector<size_t> recent;
    auto call = [&](size_t which, uint64_t seed) -> std::string {
      const int64_t rows = kStep * static_cast<int64_t>(which + 1);
      const kernels::Tensor x = numbers(backend, {rows, 1024}, seed);
      auto outputs = all[which]->call({&x, 1});
      if (!outputs) return outputs.error().to_string();
      recent.push_back(which);
      if (recent.size() > 2 && recent[recent.size() - 3] != which) all[recent[recent.size() - 3]]->release();
      auto wrong = check_sum(backend, (*outputs)[0], seed);
      return wrong.empty() ? "" : fmt::format("{} rows: {}", rows, wrong);
    };
    const int64_t before = free_memory(backend);
    for (int64_t rows = kStep; rows <= kLargest; rows += kStep) {
      auto made = cudagraph::Executable::create(
          planned(sum_of_input({rows, 1024}), with(algorithm), {backend.job().rank, 2}), memory, {});
      if (!made) return made.error().to_string();
      all.push_back(std::move(*made));
      if (auto wrong = call(all.size() - 1, all.size()); !wrong.empty()) return wrong;
    }
    const int64_t settled = free_memory(backend);
    for (uint64_t i = 0; i < 100; ++i)
      if (auto wrong = call((i * 7 + i / 16) % all.size(), i); !wrong.empty()) return wrong;
    const int64_t after = free_memory(backend);
    // The largest has 4 MiB for each of input, comm buffer and output; 16 plans of their own would have 100.
    const Bytes comm = memory.symmetric_bytes();
    if (comm > Bytes(8 << 20) || (comm == Bytes()) != (algorithm == "ll"))
      return fmt::format("{} bytes of symmetric memory", comm.count());
    Bytes kept;
    for (const auto& f : all) kept += f->kept_bytes();
    if (kept > Bytes(24 << 20)) return fmt::format("{} bytes are kept", kept.count());
    if (before - settled > (200 << 20)) return fmt::format("{} bytes of the GPU are gone", before - settled);
    // The allocator keeps blocks of all sizes.
    if (settled - after > (64 << 20)) return fmt::format("{} more bytes are gone", settled - after);
    return "";
  });
  check_well(results);
}

}  // namespace peri::test
