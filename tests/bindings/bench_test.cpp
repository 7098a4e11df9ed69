// That `peri bench` measures only what is right: every algorithm, as the host is measured and as a device is,
// and a collective that computes something else.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "bindings/commands/bench.hpp"
#include "kernels/forwarding_backend.hpp"
#include "tests/support/ranks.hpp"

namespace peri::test {
namespace {

// The host under another name: chains in one recording.
class Device : public kernels::ForwardingBackend {
 public:
  using kernels::ForwardingBackend::ForwardingBackend;
  std::string name() const override { return "device"; }
};

class WrongDevice final : public Device {
 public:
  using Device::Device;
  Result<std::unique_ptr<kernels::Recording>> prepare(std::span<const kernels::ProgramStep> steps,
                                                      kernels::Marks marks) override {
    std::vector<kernels::ProgramStep> wrong(steps.begin(), steps.end());
    for (kernels::ProgramStep& step : wrong)
      if (auto* call = std::get_if<kernels::CollectiveStep>(&step)) call->spec.reduce = Reduce::max;
    return Device::prepare(wrong, marks);
  }
};

// Whoever spins beside other work keeps its peer from running.
kernels::JobOptions patient(int ranks) {
  kernels::JobOptions options = job_options(ranks, 60);
  options.may_spin = false;
  return options;
}

// Each with one type and size, in turn: a point is thousands of calls, and on a busy machine a call is
// milliseconds.
std::string measure_all(kernels::Backend& backend) {
  constexpr std::pair<DType, int64_t> kPoints[] = {{DType::f32, 4096}, {DType::f16, 24}, {DType::bf16, 1000}};
  size_t next = static_cast<size_t>(backend.job().world_size) + (backend.name() == "host");
  Mistakes mistakes;
  for (const AlgorithmInfo& row : algorithms()) {
    if (!collective_info(row.op).has_choice() || row.algorithm == Algorithm::nccl) continue;
    const auto [dtype, bytes] = kPoints[next++ % 3];
    auto point = commands::bench_collective(backend, row, dtype, bytes);
    if (!point) return point.error().to_string();
    if (!(point->microseconds > 0 && point->bus_bandwidth > 0))
      mistakes.note(fmt::format("{} {}: no time", to_string(row.op), row.name));
  }
  return mistakes.text();
}

}  // namespace

TEST_CASE("every algorithm is measured, on the host and as on a device") {
  check_well(run_ranks(patient(2), measure_all));
  for (int ranks : {2, 3})
    check_well(run_ranks(patient(ranks), [](kernels::Backend& backend) {
      Device device(backend);
      return measure_all(device);
    }));
}

TEST_CASE("a result that is not the op's is an error, not a time") {
  for (const char* algorithm : {"one_shot", "two_shot"}) {
    const auto results = run_ranks(patient(2), [&](kernels::Backend& backend) -> std::string {
      WrongDevice device(backend);
      auto point =
          commands::bench_collective(device, *find_algorithm(Op::all_reduce, algorithm), DType::f32, 4096);
      return point ? "measured" : point.error().message;
    });
    for (const RankResult& result : results)
      CHECK_THAT(result.text, Catch::StartsWith(std::string("all_reduce by ") + algorithm) &&
                                  Catch::Contains("element 0 is "));
  }
}

TEST_CASE("multicast is measured on the host only") {
  const auto results = run_ranks(job_options(2), [](kernels::Backend& backend) -> std::string {
    Device device(backend);
    commands::BenchOptions options;
    options.sizes = {4096};
    options.rounds = 1;
    auto table = bench_collectives(device, options);
    return table ? *table : table.error().to_string();
  });
  CHECK_THAT(results[0].text, Catch::Contains("two_shot") && !Catch::Contains("multimem") &&
                                  Catch::Contains("NO PEER: scripts/bench/gpu"));
  CHECK(results[1].text == "");
}

}  // namespace peri::test
