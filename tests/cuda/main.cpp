// The conformance cases of tests/kernels on the CUDA backend. Without a GPU everything is skipped, loudly.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "kernels/plugin.hpp"

int main(int argc, char** argv) {
  constexpr int kSkipped = 77;
  // In a child: the driver does not survive a fork, and the ranks are forked.
  const pid_t child = fork();
  if (child == 0) {
    const auto count = peri::count_gpus();
    if (!count) std::fprintf(stderr, "SKIPPED: %s\n", count.error().message.c_str());
    _exit(count ? 0 : kSkipped);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return kSkipped;
  return Catch::Session().run(argc, argv);
}
