// The cases that say what every backend promises, run on the CUDA backend: those of tests/kernels about the
// contract, the executable's of tests/cudagraph, random programs, and tests/cuda's own. Without a GPU
// everything is skipped, loudly. Options of its own: --patience FACTOR for all deadlines, for tools that slow
// things down; --seeds FIRST,COUNT for random programs.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "kernels/plugin/plugin.hpp"
#include "tests/support/ranks.hpp"

namespace {

constexpr int kSkipped = 77;

// In a child, as this process must make no CUDA call before the ranks are forked.
bool has_gpu() {
  const pid_t child = fork();
  if (child == 0) {
    const auto count = peri::kernels::count_gpus();
    if (!count) std::fprintf(stderr, "SKIPPED: %s\n", count.error().message.c_str());
    _exit(count ? 0 : kSkipped);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  unsetenv("PERI_MULTICAST");  // stays off in tests, whoever runs them
  using peri::test::tested;
  tested.create = peri::kernels::create_cuda_backend;
  tested.is_cuda = true;
  tested.deadline = 4;
  tested.notice = 2;
  std::string seeds = "0,40";
  Catch::Session session;
  using Catch::clara::Opt;
  session.cli(session.cli() | Opt(tested.patience, "factor")["--patience"]("of all deadlines") |
              Opt(seeds, "first,count")["--seeds"]("of random programs"));
  if (const int wrong = session.applyCommandLine(argc, argv)) return wrong;
  std::pair<uint64_t, uint64_t> range;
  if (std::sscanf(seeds.c_str(), "%lu,%lu", &range.first, &range.second) != 2) {
    std::fprintf(stderr, "--seeds wants two numbers, as 100,50\n");
    return 2;
  }
  tested.programs = range;
  const auto& config = session.configData();
  const bool lists = config.showHelp || config.listTests || config.listTestNamesOnly;
  if (!lists && !has_gpu()) return kSkipped;

  if (!session.configData().testsOrTags.empty()) return session.run();
  // Everything: what forks its ranks first, in a child of its own, so that it can be told apart below.
  const pid_t child = fork();
  if (child == 0) {
    session.configData().testsOrTags = {"~[here]"};
    const int failed = session.run();
    std::cout << std::flush;
    _exit(failed);
  }
  int status = 0;
  waitpid(child, &status, 0);
  session.configData().testsOrTags = {"[here]"};
  return session.run() + (WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
