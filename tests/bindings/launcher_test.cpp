// The launcher with real processes: each rank is a shell script. Every case runs launch() in a process of its
// own, which also checks that the launcher leaves no child and no descriptor behind.
#include "bindings/launcher/launcher.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>

#include "bindings/launcher/failure.hpp"
#include "bindings/launcher/machine.hpp"
#include "kernels/os/machine.hpp"

using namespace peri;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

int open_descriptors() {
  DIR* folder = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(folder)) ++count;
  closedir(folder);
  return count;
}

// A running launcher, whose output goes to files in memory.
struct Launch {
  pid_t pid = -1;
  int out_fd = memfd_create("out", 0), err_fd = memfd_create("err", 0);
  Clock::time_point start = Clock::now();

  explicit Launch(int ranks, const std::string& script, bool merge = false, int out = -1) {
    pid = fork();
    if (pid != 0) return;
    for (int signal : {SIGINT, SIGTERM, SIGSEGV, SIGABRT}) ::signal(signal, SIG_DFL);  // not Catch2's
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(out >= 0 ? out : out_fd, 1);
    dup2(err_fd, 2);
    close_range(3, ~0u, 0);  // the test's own ends of pipes among them
    launcher::LaunchOptions options;
    options.ranks = ranks;
    options.command = {"/bin/sh", "-c", script};
    options.merge_identical = merge;
    int before = open_descriptors();
    auto code = launch(options);
    if (!code) dprintf(2, "%s\n", code.error().to_string().c_str());
    if (open_descriptors() != before) dprintf(2, "DESCRIPTORS LEFT\n");
    if (waitpid(-1, nullptr, 0) != -1 || errno != ECHILD) dprintf(2, "CHILDREN LEFT\n");
    _exit(code.value_or(99));
  }
  ~Launch() {
    close(out_fd);
    close(err_fd);
  }
  static std::string content(int fd) {
    struct stat info;
    fstat(fd, &info);
    std::string text(static_cast<size_t>(info.st_size), '\0');
    if (pread(fd, text.data(), text.size(), 0) < 0) text.clear();
    return text;
  }
  std::string out() const { return content(out_fd); }
  std::string err() const { return content(err_fd); }
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start).count(); }
  // Until the ranks have written this many lines.
  void wait_for_lines(int count) {
    auto lines = [&] {
      std::string text = out();
      return std::count(text.begin(), text.end(), '\n');
    };
    while (lines() < count && seconds() < 20) std::this_thread::sleep_for(5ms);
    start = Clock::now();
  }
  int wait() {
    int status = 0;
    waitpid(pid, &status, 0);
    pid = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
};

// A pid that runs: neither gone nor a zombie.
bool alive(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  size_t close = line.rfind(')');
  return close != std::string::npos && line[close + 2] != 'Z' && line[close + 2] != 'X';
}

// One that was killed takes a moment to end.
bool ends(pid_t pid) {
  for (int i = 0; i < 100 && alive(pid); ++i) std::this_thread::sleep_for(10ms);
  return !alive(pid);
}

// "[r] pid" lines.
std::vector<pid_t> pids_by_rank(const std::string& text, int ranks) {
  std::vector<pid_t> pids(static_cast<size_t>(ranks), 0);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    pids[std::stoi(line.substr(1))] = std::stoi(line.substr(line.find(' ')));
  return pids;
}

std::vector<std::string> sorted_lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  std::sort(lines.begin(), lines.end());
  return lines;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("ranks know who they are, and their lines are marked") {
  Launch job(3,
             "echo $PERI_RANK/$PERI_WORLD_SIZE $RANK/$WORLD_SIZE $LOCAL_RANK ${#PERI_JOB} $PERI_TIMEOUT; "
             "cat; printf end");
  CHECK(job.wait() == 0);
  CHECK(sorted_lines(job.out()) == std::vector<std::string>{"[0] 0/3 0/3 0 32 60", "[0] end",
                                                            "[1] 1/3 1/3 1 32 60", "[1] end",
                                                            "[2] 2/3 2/3 2 32 60", "[2] end"});
  CHECK(job.err().empty());
}

TEST_CASE("ranks do not take the place that another launcher gave to the launcher") {
  setenv("OMPI_MCA_ess_base_jobid", "12", 1);
  setenv("RANK", "77", 1);
  Launch job(2, "echo $RANK $OMPI_MCA_ess_base_jobid.");
  unsetenv("OMPI_MCA_ess_base_jobid");
  unsetenv("RANK");
  CHECK(job.wait() == 0);
  CHECK(sorted_lines(job.out()) == std::vector<std::string>{"[0] 0 .", "[1] 1 ."});
}

TEST_CASE("all ranks have one job, another job has another") {
  auto job = [] {
    Launch launch(2, "echo $PERI_JOB", true);
    CHECK(launch.wait() == 0);
    return launch.out();
  };
  std::string first = job();
  CHECK(first.substr(0, 6) == "[0-1] ");
  CHECK(first != job());
}

TEST_CASE("cores are divided among ranks") {
  for (const char* users_own : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PERI_THREADS"})
    unsetenv(users_own);
  int cores = static_cast<int>(launcher::allowed_cores().size());
  int ranks = cores + 1;
  Launch crowded(ranks, "echo $PERI_THREADS $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS $(nproc --ignore=0)",
                 true);
  CHECK(crowded.wait() == 0);
  CHECK(contains(crowded.out(), "1 1 1"));
  if (cores < 2) return;
  Launch pinned(2, "grep Cpus_allowed_list /proc/self/status");
  CHECK(pinned.wait() == 0);
  auto lines = sorted_lines(pinned.out());
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].substr(4) != lines[1].substr(4));
}

TEST_CASE("one rank writes without marks, byte for byte") {
  Launch job(1, "printf 'a\\000b'; printf 'no newline' >&2");
  CHECK(job.wait() == 0);
  CHECK(job.out() == std::string("a\0b", 3));
  CHECK(job.err() == "no newline");
}

TEST_CASE("identical output is shown once") {
  Launch job(4, "echo same; if [ $PERI_RANK = 2 ]; then echo different; fi; echo same again; echo oh >&2",
             true);
  CHECK(job.wait() == 0);
  CHECK(job.out() == "[0-3] same\n[2] different\n[0-3] same again\n");
  CHECK(job.err() == "[0-3] oh\n");
}

TEST_CASE("100 MB of output arrive whole, also when all ranks write at once") {
  Launch job(2, "yes $PERI_RANK-0123456789012345678901234567890123456789 | head -c 52428800");
  CHECK(job.wait() == 0);
  std::string text = job.out();
  size_t counts[2] = {0, 0}, wrong = 0;
  for (size_t at = 0; at < text.size();) {
    size_t newline = text.find('\n', at);
    int rank = text[at + 1] - '0';
    std::string expected = "[" + std::to_string(rank) + "] " + std::to_string(rank) +
                           "-0123456789012345678901234567890123456789";
    std::string_view line(text.data() + at, newline - at);
    if (line == expected)
      ++counts[rank];
    else if (newline + 1 < text.size() && expected.find(line) != 0)
      ++wrong;  // head cuts the last one
    at = newline + 1;
  }
  CHECK(wrong == 0);
  CHECK(counts[0] == 52428800 / 43);
  CHECK(counts[1] == 52428800 / 43);
}

TEST_CASE("100 MB that two ranks write alike are shown once") {
  Launch job(2, "yes 0123456789012345678901234567890123456789 | head -c 104857600", true);
  CHECK(job.wait() == 0);
  std::string text = job.out();
  size_t lines = 0, merged = 0;
  for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
    size_t both = text.compare(at, 6, "[0-1] ") == 0;
    merged += both;
    lines += both ? 2 : 1;
  }
  CHECK(lines == 2 * (104857600 / 41 + 1));
  CHECK(merged > lines / 50);  // nearly all; on a loaded machine one rank may starve again and again
}

TEST_CASE("a line of megabytes and binary bytes survive") {
  Launch job(2, "[ $PERI_RANK = 1 ] || { head -c 5000000 /dev/zero; printf '\\377\\n'; }");
  CHECK(job.wait() == 0);
  CHECK(job.out() == "[0] " + std::string(5000000, '\0') + "\377\n");
}

TEST_CASE("a slow reader loses nothing, and one that leaves ends the job") {
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  {
    Launch job(2, "yes | head -n 500000", false, ends[1]);
    close(ends[1]);
    size_t lines = 0;
    char bytes[65536];
    std::this_thread::sleep_for(300ms);
    for (ssize_t count; (count = read(ends[0], bytes, sizeof(bytes))) > 0;)
      lines += std::count(bytes, bytes + count, '\n');
    close(ends[0]);
    CHECK(job.wait() == 0);
    CHECK(lines == 1000000);
    CHECK(job.err().empty());
  }
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  Launch job(2, "yes", false, ends[1]);
  close(ends[1]);
  char byte;
  CHECK(read(ends[0], &byte, 1) == 1);
  close(ends[0]);
  CHECK(job.wait() == 128 + SIGPIPE);
  CHECK(job.seconds() < 2);
  CHECK(job.err().empty());
}

TEST_CASE("the job has the code of the rank that failed first by itself") {
  // Ranks 0 and 2 notice before rank 1's own end is seen, and end with "peer lost".
  Launch job(
      3, "if [ $PERI_RANK = 1 ]; then sleep 0.3; echo boom >&2; exit 7; fi; echo lost rank 1 >&2; exit 113");
  CHECK(job.wait() == 7);
  CHECK(contains(job.err(), "[1] boom\n"));
  CHECK(contains(job.err(), "peri: rank 1 ended with exit code 7\n"));
  CHECK(!contains(job.err(), "last lines"));
}

TEST_CASE("an error that all ranks have alike is told once") {
  Launch job(3, "echo 'a.lua:1: no' >&2; exit 1");
  CHECK(job.wait() == 1);
  CHECK(job.err() == "[0-2] a.lua:1: no\nperi: all 3 ranks ended with exit code 1 (error in the script)\n");
}

TEST_CASE("a rank alone speaks for itself") {
  Launch job(1, "echo bad >&2; exit 5");
  CHECK(job.wait() == 5);
  CHECK(job.err() == "bad\n");
}

TEST_CASE("a killed rank ends the job within two seconds, with what it had started") {
  Launch job(3, "echo $$; trap '' TERM; while :; do sleep 60; done");
  job.wait_for_lines(3);
  auto pids = pids_by_rank(job.out(), 3);
  kill(pids[2], SIGKILL);
  CHECK(job.wait() == 128 + SIGKILL);
  CHECK(job.seconds() < 2);
  CHECK(contains(job.err(), "peri: rank 2 was killed by SIGKILL\n"));
  CHECK(
      contains(job.err(), "peri: ranks 0-1 did not end within a second after that and had to be stopped\n"));
  for (pid_t pid : pids) CHECK(ends(pid));
}

TEST_CASE("no process that a rank started is left") {
  Launch job(2, "sleep 61 & echo $!; wait_a_moment=1; sleep 0.1");
  CHECK(job.wait() == 0);
  CHECK(job.seconds() < 2);
  for (pid_t pid : pids_by_rank(job.out(), 2)) CHECK(ends(pid));
}

TEST_CASE("a stopped rank is named when the others give up, and is killed") {
  Launch job(3, "echo $$; if [ $PERI_RANK != 1 ]; then sleep 0.5; exit 124; fi; sleep 60");
  job.wait_for_lines(3);
  auto pids = pids_by_rank(job.out(), 3);
  kill(pids[1], SIGSTOP);
  CHECK(job.wait() == 124);
  CHECK(job.seconds() < 2.5);
  CHECK(contains(job.err(), "peri: rank 1 was stopped by SIGSTOP, and rank "));
  CHECK(contains(job.err(), "ended with exit code 124 (timeout)\n"));
  CHECK(ends(pids[1]));
}

TEST_CASE("a rank that went home early is named by those that missed it") {
  Launch job(2, "[ $PERI_RANK = 1 ] && exit 0; sleep 0.2; exit 113");
  CHECK(job.wait() == 113);
  CHECK(contains(job.err(),
                 "peri: rank 0 ended with exit code 113 (lost another rank); rank 1 had already finished\n"));
}

TEST_CASE("Ctrl-C once: the ranks end by themselves") {
  Launch job(2, "trap 'echo clean; exit 130' INT; echo ready; while :; do sleep 0.05; done");
  job.wait_for_lines(2);
  kill(job.pid, SIGINT);
  CHECK(job.wait() == 130);
  CHECK(job.seconds() < 1);
  CHECK(sorted_lines(job.out()) ==
        std::vector<std::string>{"[0] clean", "[0] ready", "[1] clean", "[1] ready"});
  CHECK(job.err() == "peri: interrupted\n");
}

TEST_CASE("Ctrl-C and ranks that do not listen: killed after a moment, at once by the second") {
  const std::string deaf = "trap '' INT TERM; echo ready; while :; do sleep 60; done";
  Launch patient(2, deaf);
  patient.wait_for_lines(2);
  kill(patient.pid, SIGINT);
  CHECK(patient.wait() == 130);
  CHECK(patient.seconds() > 1.4);
  CHECK(patient.seconds() < 2);
  Launch impatient(2, deaf);
  impatient.wait_for_lines(2);
  kill(impatient.pid, SIGINT);
  std::this_thread::sleep_for(100ms);
  kill(impatient.pid, SIGINT);
  CHECK(impatient.wait() == 130);
  CHECK(impatient.seconds() < 1);
}

TEST_CASE("SIGTERM ends the job with 143") {
  Launch job(2, "echo ready; exec sleep 60");
  job.wait_for_lines(2);
  kill(job.pid, SIGTERM);
  CHECK(job.wait() == 128 + SIGTERM);
  CHECK(job.seconds() < 1);
}

TEST_CASE("ranks do not outlive a launcher that is killed") {
  Launch job(3, "echo $$; exec sleep 60");
  job.wait_for_lines(3);
  auto pids = pids_by_rank(job.out(), 3);
  for (pid_t pid : pids) CHECK(alive(pid));
  kill(pids[0], SIGSTOP);
  kill(job.pid, SIGKILL);
  job.wait();
  auto any = [&] { return std::any_of(pids.begin(), pids.end(), alive); };
  while (any() && job.seconds() < 2) std::this_thread::sleep_for(5ms);
  CHECK(!any());
}

TEST_CASE("what cannot be started is an error, and nothing was started") {
  launcher::LaunchOptions options;
  options.command = {"/no/such/program"};
  options.ranks = 2;
  auto code = launch(options);
  REQUIRE(!code);
  CHECK(code.error().code == Code::IoError);
  CHECK(code.error().message == "cannot start /no/such/program: No such file or directory");
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1);
  for (int ranks : {0, -3, 1025}) {
    options.ranks = ranks;
    code = launch(options);
    REQUIRE(!code);
    CHECK(code.error().code == Code::InvalidArgument);
    CHECK(code.error().message ==
          "the number of ranks must be from 1 to 1024, and it is " + std::to_string(ranks));
  }
}

TEST_CASE("more ranks than memory are refused with numbers") {
  auto status = launcher::check_memory(100, Bytes(1 << 30));
  REQUIRE(!status);
  CHECK(status.error().code == Code::OutOfMemory);
  CHECK(status.error().message ==
        "100 ranks need at least 3200 MiB (32 MiB each), and 1024 MiB of memory are available");
  CHECK(status.error().hint == "at most 32 ranks fit");
  CHECK(launcher::check_memory(32, Bytes(1 << 30)));
  CHECK(kernels::os::available_memory() > launcher::kBytesPerRank);
  CHECK(launcher::usable_cores() >= 1);
  CHECK(launcher::usable_cores() <= static_cast<int>(launcher::allowed_cores().size()));
}

TEST_CASE("first causes") {
  auto at = [](int ms) { return Clock::time_point{} + std::chrono::milliseconds(ms); };
  auto end = [&](int code, int ms) { return launcher::RankEnd{.code = code, .at = at(ms)}; };
  CHECK(!launcher::first_cause({end(0, 1), end(0, 2)}));
  CHECK(launcher::first_cause({end(113, 1), end(124, 2), end(1, 9), end(1, 8)}) == 3);
  CHECK(launcher::first_cause({end(113, 1), end(124, 2), end(0, 1)}) == 1);
  CHECK(launcher::first_cause({end(113, 2), end(113, 1)}) == 1);
  launcher::RankEnd ended_by_us = end(143, 1);
  ended_by_us.by_launcher = true;
  CHECK(launcher::first_cause({ended_by_us, end(113, 5)}) == 1);
  launcher::RankEnd killed{.code = 137, .signal = SIGKILL, .at = at(4)};
  CHECK(launcher::first_cause({killed, end(1, 5)}) == 0);
  launcher::RankOutput::Tail tail{false, {"one", "two"}};
  CHECK(
      failure_report({killed, end(113, 5)}, 0, tail) ==
      "peri: rank 0 was killed by SIGKILL\nperi: the last lines rank 0 wrote to stderr:\n  | one\n  | two\n");
  CHECK(launcher::failure_report({end(2, 1), end(113, 5)}, 0, {}) ==
        "peri: rank 0 ended with exit code 2 (wrong usage)\nperi: rank 0 wrote nothing to stderr\n");
  CHECK(launcher::signal_name(SIGSEGV) == "SIGSEGV");
}
