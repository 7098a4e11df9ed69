// The thread pool: every item exactly once, on any number of threads, also after a fork and from two callers
// at once.
#include <sys/wait.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/host/compute/kernel.hpp"
#include "kernels/host/compute/threads.hpp"

using namespace peri::kernels::host;

namespace {

bool covers_once(int64_t count, int64_t grain) {
  std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  for (const auto& times : seen)
    if (times != 1) return false;
  return true;
}

}  // namespace

TEST_CASE("parallel_for gives every item to one thread") {
  for (int threads : {1, 2, 3, 8}) {
    set_thread_count(threads);
    for (int64_t count : {0, 1, 2, 7, 1000})
      for (int64_t grain : {0, 1, 3, 5000}) CHECK(covers_once(count, grain));
  }
  set_thread_count(1);
}

TEST_CASE("many short runs after one another") {
  set_thread_count(3);
  int64_t sum = 0;
  for (int i = 0; i < 5000; ++i) {
    int64_t parts[3] = {};
    parallel_for(3, 1, [&](int64_t begin, int64_t end, int part) { parts[part] = end - begin; });
    sum += std::accumulate(parts, parts + 3, int64_t(0));
  }
  CHECK(sum == 15000);
  set_thread_count(1);
}

TEST_CASE("two callers at once") {
  set_thread_count(2);
  std::atomic<int> good = 0;
  {
    auto call = [&] {
      for (int i = 0; i < 200; ++i) good += covers_once(100, 1);
    };
    std::jthread other(call);
    call();
  }
  CHECK(good == 400);
  set_thread_count(1);
}

TEST_CASE("a forked child makes its own threads") {
  set_thread_count(2);
  CHECK(covers_once(100, 1));
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(covers_once(100, 1) ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  set_thread_count(1);
}

TEST_CASE("scratch memory is aligned and grows") {
  std::byte* small = thread_scratch(100);
  CHECK(reinterpret_cast<uintptr_t>(small) % 64 == 0);
  CHECK(thread_scratch(50) == small);
  std::byte* large = thread_scratch(1 << 20);
  CHECK(reinterpret_cast<uintptr_t>(large) % 64 == 0);
}
