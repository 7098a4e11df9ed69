// The control plane: joining, exchanging texts, and leaving nothing behind.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include <filesystem>

#include "kernels/job/control.hpp"
#include "kernels/job/transport.hpp"
#include "tests/support/collective_case.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::test;

namespace {

size_t entries(const char* folder) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

}  // namespace

TEST_CASE("every member gets every text, in group order, whatever its length") {
  auto body = [](Backend& backend) -> std::string {
    const int rank = backend.job().rank;
    auto text = [](int rank, size_t length) { return std::string(length, static_cast<char>('a' + rank)); };
    for (size_t length : {size_t(0), size_t(5), size_t(32 << 10), size_t(3'000'000)}) {
      auto all = backend.exchange({{3, 0, 1, 2}}, text(rank, length + static_cast<size_t>(rank)), "texts");
      if (!all) return all.error().to_string();
      for (int m = 0; m < 4; ++m) {
        int member = (m + 3) % 4;
        if ((*all)[static_cast<size_t>(m)] != text(member, length + static_cast<size_t>(member)))
          return "wrong text";
      }
    }
    if (rank == 2) return backend.exchange({{0, 1}}, "", "not a member") ? "not refused" : "";
    auto some = backend.exchange({{0, 1, 3}}, std::to_string(rank), "some");
    return some && (*some)[2] == "3" ? "" : "subgroup";
  };
  check_well(run_ranks(job_options(4), body));
}

TEST_CASE("ranks that are at different steps are told which") {
  auto body = [](Backend& backend) -> std::string {
    auto all =
        backend.exchange(world_group(2), "", backend.job().rank == 0 ? "plan agreement" : "loading weights");
    return all ? "no error" : all.error().to_string();
  };
  for (const RankResult& result : run_ranks(job_options(2), body)) {
    CHECK_THAT(result.text,
               Catch::Contains("rank 0 last entered plan agreement (call #1)\n   rank 1 last entered "
                               "loading weights (call #1)"));
  }
}

TEST_CASE("a rank that never comes is named at the deadline") {
  JobOptions options = job_options(3, 0.2);
  options.rank = 1;
  auto backend = create_host_backend(options);
  REQUIRE_FALSE(backend);
  CHECK(backend.error().code == Code::Timeout);
  CHECK(backend.error().message == "joining the job: no sign of ranks 0, 2 for 0.2 s");
}

TEST_CASE("ranks of jobs of different sizes, and two of one number, do not join") {
  auto body = [](Backend&) -> std::string { return "joined"; };
  JobOptions small = job_options(2, 0.5), large = small;
  large.world_size = 3;
  std::string texts[2];
  std::thread first([&] { texts[0] = run_rank(small, body); });
  std::thread second([&] {
    large.rank = 1;
    texts[1] = run_rank(large, body);
  });
  first.join();
  second.join();
  CHECK(texts[0].find("rank 1 was started for 3 ranks, rank 0 for 2") != std::string::npos);
  CHECK(texts[1] != "joined");

  JobOptions taken = job_options(2, 0.3);
  std::thread holder([&] { texts[0] = run_rank(taken, body); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  texts[1] = run_rank(taken, body);
  holder.join();
  CHECK(texts[1].find("cannot take its address") != std::string::npos);

  JobOptions lengthy = job_options(2, 0.3);
  lengthy.job = std::string(200, 'x');
  CHECK(run_rank(lengthy, body).find("the job's name") != std::string::npos);
  JobOptions outside = job_options(2, 0.3);
  outside.rank = 2;
  CHECK(run_rank(outside, body).find("rank 2 of 2") != std::string::npos);
}

TEST_CASE("forty ranks join and meet") {
  auto body = [](Backend& backend) -> std::string {
    auto all = backend.exchange(world_group(40), std::to_string(backend.job().rank), "ranks");
    return all && (*all)[39] == "39" ? "" : "exchange";
  };
  check_well(run_ranks(job_options(40), body));
}

TEST_CASE("a job leaves no descriptor, thread, mapping or file behind") {
  auto body = [](Backend& backend) -> std::string {
    auto storage = backend.allocate_symmetric(Bytes(100'000), world_group(3));
    Operand operand{(*storage)->data(), {DType::f32, View::contiguous({100})}};
    for (Algorithm algorithm : {Algorithm::ll, Algorithm::two_shot})
      if (!run_collective(backend,
                          {.algorithm = find_algorithm(Op::all_reduce, algorithm), .group = world_group(3)},
                          operand, operand))
        return "collective";
    const Op op = backend.job().rank ? Op::recv : Op::send;
    CollectiveSpec pass{.op = op,
                        .algorithm = find_algorithm(op, Algorithm::ll),
                        .group = world_group(3),
                        .peer = backend.job().rank ? 0 : 1};
    if (backend.job().rank < 2 && !run_collective(backend, pass, operand, operand)) return "message";
    backend.leave();
    return run_collective(backend, pass, operand, operand) ? "a collective after leaving" : "";
  };
  auto lines_of_maps = [] {
    size_t shared = 0;
    std::FILE* maps = std::fopen("/proc/self/maps", "r");
    for (char line[512]; std::fgets(line, sizeof(line), maps);)
      shared += std::string(line).find("memfd:peri") != std::string::npos;
    std::fclose(maps);
    return shared;
  };
  auto shm = entries("/dev/shm");
  check_well(run_threads(job_options(3), body));
  auto descriptors = entries("/proc/self/fd");
  auto threads = entries("/proc/self/task");
  check_well(run_threads(job_options(3), body));
  CHECK(entries("/proc/self/fd") == descriptors);
  CHECK(entries("/proc/self/task") == threads);
  CHECK(entries("/dev/shm") == shm);
  CHECK(lines_of_maps() == 0);
}
