// Runs the ranks of a job in tests: as processes (forked, as users run them) or as threads of this process
// (so that ThreadSanitizer sees both sides of every signal); and says on which backend the tests of this
// program run. Header-only, as every layer's tests may include it.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "kernels/backend.hpp"

namespace peri::test {

// Where the cases of this program run, and what differs there. The host's numbers; tests/cuda/main.cpp sets
// the GPU's. A GPU's driver does not survive a fork: a case that makes a backend in this process, not in
// forked ranks, has the tag [here], and these run last.
struct TestedBackend {
  Result<std::unique_ptr<kernels::Backend>> (*create)(const kernels::JobOptions&) =
      kernels::create_host_backend;
  bool is_cuda = false;
  double patience = 1;    // factor of every deadline: more under tools that slow everything down
  double deadline = 0.4;  // s; short, but longer than a rank may be late when it starts
  double notice = 1;      // s, within which the others have left a wait for a rank that has ended
  std::optional<std::pair<uint64_t, uint64_t>> programs;  // the first seed and how many; else the test's own
};
inline TestedBackend tested;

// What one rank does with its backend. The text that it gives back is compared by the test: "" for all well.
using RankBody = std::function<std::string(kernels::Backend&)>;

struct RankResult {
  std::string text;  // what the body gave back, or why the backend could not be made
  int signal = 0;    // that ended the process
};

inline std::string unique_job() {
  static std::atomic<int> count{0};
  return "test" + std::to_string(getpid()) + "." + std::to_string(count++);
}

inline std::string run_rank(const kernels::JobOptions& options, const RankBody& body) {
  Result<std::unique_ptr<kernels::Backend>> backend = tested.create(options);
  if (!backend) return backend.error().to_string();
  return body(**backend);
}

inline kernels::JobOptions job_options(int world_size, double timeout_s = 20) {
  return {.rank = 0,
          .world_size = world_size,
          .job = unique_job(),
          .timeout_s = timeout_s * tested.patience,
          .threads = 1,
          .may_spin = static_cast<int>(std::thread::hardware_concurrency()) >= world_size};
}

// Ranks as processes. A body may end its process; the test runs no longer than `options.timeout_s` + 30 s.
inline std::vector<RankResult> run_processes(kernels::JobOptions options, const RankBody& body) {
  struct Child {
    pid_t pid;
    int pipe;
  };
  std::vector<Child> children;
  for (int rank = 0; rank < options.world_size; ++rank) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return {};
    pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (int number : {SIGSEGV, SIGABRT, SIGFPE, SIGILL, SIGTERM, SIGINT})
        signal(number, SIG_DFL);                             // Catch's handlers
      alarm(static_cast<unsigned>(options.timeout_s) + 30);  // a hang is a failure, not a hung test run
      options.rank = rank;
      std::string text = run_rank(options, body);
      for (size_t at = 0; at < text.size();) {
        ssize_t written = write(ends[1], text.data() + at, text.size() - at);
        if (written <= 0) break;
        at += static_cast<size_t>(written);
      }
      _exit(0);
    }
    close(ends[1]);
    children.push_back({pid, ends[0]});
  }
  std::vector<RankResult> results;
  for (const Child& child : children) {
    RankResult result;
    char buffer[4096];
    for (ssize_t got; (got = read(child.pipe, buffer, sizeof(buffer))) > 0;)
      result.text.append(buffer, static_cast<size_t>(got));
    close(child.pipe);
    int status = 0;
    waitpid(child.pid, &status, 0);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    results.push_back(std::move(result));
  }
  return results;
}

// Ranks as threads.
inline std::vector<RankResult> run_threads(kernels::JobOptions options, const RankBody& body) {
  std::vector<RankResult> results(static_cast<size_t>(options.world_size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < options.world_size; ++rank)
    threads.emplace_back([&results, &body, options, rank]() mutable {
      options.rank = rank;
      results[rank].text = run_rank(options, body);
    });
  for (std::thread& thread : threads) thread.join();
  return results;
}

// As threads where a sanitizer that cannot follow processes runs, else as processes.
inline std::vector<RankResult> run_ranks(const kernels::JobOptions& options, const RankBody& body) {
#ifdef __SANITIZE_THREAD__
  return run_threads(options, body);
#else
  return run_processes(options, body);
#endif
}

// What is wrong with the cases of one rank: a body goes on after a wrong result, so that the first does not
// hide the rest.
class Mistakes {
 public:
  static constexpr char kEnd = '\x1e';  // between two
  void note(std::string_view text) {    // "" for none
    if (text.empty() || ++count_ > 20) return;
    if (!text_.empty()) text_ += kEnd;
    text_ += text;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  int count_ = 0;
};

// A failed check for every mistake of every rank, and for every rank that ended by a signal.
inline void check_well(const std::vector<RankResult>& results) {
  CHECK_FALSE(results.empty());
  for (size_t rank = 0; rank < results.size(); ++rank) {
    INFO("rank " << rank);
    CHECK(results[rank].signal == 0);
    std::string_view rest = results[rank].text;
    while (!rest.empty()) {
      const size_t end = rest.find(Mistakes::kEnd);
      FAIL_CHECK(std::string(rest.substr(0, end)));
      rest = end == rest.npos ? "" : rest.substr(end + 1);
    }
  }
}

}  // namespace peri::test
