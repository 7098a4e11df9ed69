#include "bindings/launcher/launcher.hpp"

#include <errno.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>

#include <limits.h>
#include <algorithm>
#include <array>
#include <deque>

#include "bindings/launcher/failure.hpp"
#include "bindings/launcher/machine.hpp"
#include "bindings/launcher/output.hpp"
#include "bindings/launcher/rank_process.hpp"
#include "core/env.hpp"
#include "core/random_bits.hpp"
#include "kernels/os/machine.hpp"

namespace peri::launcher {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

constexpr auto kMomentAfterFailure = 1200ms;
constexpr auto kKillAfterFailure = 1600ms;
constexpr auto kKillAfterSignal = 1500ms;
constexpr size_t kReadBytes = 64 << 10;
constexpr size_t kMaxUnwritten = 1 << 20;  // then the ranks' pipes fill up and the ranks wait

// Signals arrive as data while this lives; the mask that was there before is kept for the ranks. SIGPIPE is
// among them so that `peri run | head` is a way to stop a job too.
class Signals {
 public:
  Signals() {
    sigset_t mask;
    sigemptyset(&mask);
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&mask, signal);
    pthread_sigmask(SIG_BLOCK, &mask, &before_);
    descriptor_ = kernels::os::Fd(signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
  }
  ~Signals() {
    while (next()) {  // what came late is not left to strike when the mask is lifted
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  Signals(const Signals&) = delete;

  const sigset_t& before() const { return before_; }
  int descriptor() const { return descriptor_.get(); }
  std::optional<signalfd_siginfo> next() {
    signalfd_siginfo info;
    if (read(descriptor_.get(), &info, sizeof(info)) != sizeof(info)) return std::nullopt;
    return info;
  }

 private:
  sigset_t before_;
  kernels::os::Fd descriptor_;
};

// The terminal as it was: rank 0 may have changed it and been killed.
class Terminal {
 public:
  Terminal() : known_(tcgetattr(STDIN_FILENO, &state_) == 0) {}
  ~Terminal() {
    // Not from the background: that would stop us with SIGTTOU.
    if (known_ && tcgetpgrp(STDIN_FILENO) == getpgrp()) tcsetattr(STDIN_FILENO, TCSANOW, &state_);
  }
  Terminal(const Terminal&) = delete;
  bool is_input() const { return known_; }

 private:
  termios state_{};
  bool known_;
};

// Text on its way to our own stdout and stderr, in one order. Never blocks: the consumer may be a pager that
// waits, and the job's deadlines hold all the same.
class Writer {
 public:
  void add(Stream stream, std::string text) {
    size_ += text.size();
    queue_.push_back({stream, std::move(text)});
  }
  bool empty() const { return queue_.empty(); }
  bool full() const { return size_ > kMaxUnwritten; }
  void drop() { queue_.clear(), size_ = 0; }
  int descriptor() const { return descriptor_of(queue_.front().stream); }

  // When descriptor() is writable. A pipe then takes PIPE_BUF bytes without blocking; a file takes any
  // number.
  Status write_some() {
    Chunk& chunk = queue_.front();
    struct stat info{};
    fstat(descriptor(), &info);
    size_t count = chunk.text.size() - chunk.written;
    if (!S_ISREG(info.st_mode)) count = std::min(count, size_t{PIPE_BUF});
    ssize_t written = ::write(descriptor(), chunk.text.data() + chunk.written, count);
    if (written < 0) {
      if (errno == EINTR || errno == EAGAIN) return {};
      std::string why = strerror(errno);
      bool reader_left = errno == EPIPE;  // SIGPIPE says so too, and ends the job
      drop();
      if (reader_left) return {};
      return fail(Code::IoError, fmt::format("cannot write the ranks' output: {}", why));
    }
    size_ -= static_cast<size_t>(written);
    chunk.written += static_cast<size_t>(written);
    if (chunk.written == chunk.text.size()) queue_.pop_front();
    return {};
  }

 private:
  struct Chunk {
    Stream stream;
    std::string text;
    size_t written = 0;
  };
  static int descriptor_of(Stream stream) { return stream == Stream::out ? STDOUT_FILENO : STDERR_FILENO; }

  std::deque<Chunk> queue_;
  size_t size_ = 0;
};

class Job {
 public:
  explicit Job(const LaunchOptions& options)
      : options_(options),
        ends_(static_cast<size_t>(options.ranks)),
        output_(options.ranks, options.merge_identical ? Lines::merged : Lines::separate, Lines::merged,
                [this](Stream stream, std::string text) { writer_.add(stream, std::move(text)); }) {}

  Result<int> run();

 private:
  Status start();
  Status wait();  // for the next thing to happen, and deals with it
  void on_signal(const signalfd_siginfo& info);
  void on_end(int rank);
  bool read_some(int rank, Stream stream);
  void read_rest(int rank);
  void act_on_deadlines();
  void kill_all();
  std::optional<Time> next_deadline() const;
  int conclude();  // the exit code; reports a failure
  bool running() const {
    return std::any_of(ranks_.begin(), ranks_.end(), [](const RankProcess& rank) { return rank.running(); });
  }
  // A stopped rank does not end by itself, whatever moment it is given.
  bool only_stopped_run() const {
    return std::all_of(ranks_.begin(), ranks_.end(),
                       [](const RankProcess& rank) { return !rank.running() || rank.stopped_by(); });
  }
  static kernels::os::Fd& pipe_of(RankProcess& rank, Stream stream) {
    return stream == Stream::out ? rank.out : rank.err;
  }

  const LaunchOptions& options_;
  Signals signals_;
  Terminal terminal_;
  std::vector<RankProcess> ranks_;
  std::vector<RankEnd> ends_;
  Writer writer_;
  RankOutput output_;
  int stop_signal_ = 0;               // that the launcher received
  bool told_to_end_ = false;          // we have signalled the ranks: ends from now on are no causes
  std::optional<Time> terminate_at_;  // after a failure
  std::optional<Time> kill_at_;       // after a failure or a signal
};

Result<std::string> random_job_id() {
  return fmt::format("{:016x}{:016x}", PERI_TRY(random_bits()), PERI_TRY(random_bits()));
}

// The user's environment with ours in it. What other launchers say about ranks is left out: if `peri run`
// itself was started by one of them, it is not about these ranks.
std::vector<std::string> rank_variables(int rank, const LaunchOptions& options, const std::string& job,
                                        int threads) {
  std::vector<std::string> ours = {
      "PERI_JOB=" + job,
      fmt::format("PERI_RANK={}", rank),
      fmt::format("PERI_WORLD_SIZE={}", options.ranks),
      fmt::format("PERI_TIMEOUT={}", options.timeout_s),
      fmt::format("RANK={}", rank),
      fmt::format("WORLD_SIZE={}", options.ranks),
      fmt::format("LOCAL_RANK={}", rank),
  };
  if (!options.timelines.empty())
    ours.push_back(fmt::format("PERI_TIMELINE={}", options.timelines[static_cast<size_t>(rank)]));
  const std::vector<std::string> defaults = {
      fmt::format("PERI_THREADS={}", threads),
      fmt::format("OMP_NUM_THREADS={}", threads),
      fmt::format("OPENBLAS_NUM_THREADS={}", threads),
  };
  // rank_environment.hpp: without these a launcher's other variables do not count.
  const std::vector<std::string> foreign = {
      "TORCHELASTIC_RUN_ID=", "OMPI_MCA_ess_base_jobid=", "SLURM_STEP_ID="};
  auto name_of = [](const std::string& variable) { return variable.substr(0, variable.find('=') + 1); };
  auto names = [&](const std::vector<std::string>& list, const std::string& name) {
    return std::any_of(list.begin(), list.end(), [&](const std::string& v) { return name_of(v) == name; });
  };
  std::vector<std::string> variables = ours;
  for (const std::string& variable : environment_variables()) {
    const std::string name = name_of(variable);
    if (!names(ours, name) && !names(foreign, name)) variables.push_back(variable);
  }
  for (const std::string& variable : defaults) {
    if (!names(variables, name_of(variable))) variables.push_back(variable);
  }
  return variables;
}

// Three descriptors per rank, and one for its timeline, may be more than the usual soft limit of 1024.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::max(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, 4 * kMaxRanks));
  setrlimit(RLIMIT_NOFILE, &limit);
}

Status Job::start() {
  const std::string job = PERI_TRY(random_job_id());
  const std::vector<int> cores = allowed_cores();
  const int threads = std::max(1, usable_cores() / options_.ranks);
  const size_t count = static_cast<size_t>(options_.ranks);
  raise_descriptor_limit();
  for (size_t rank = 0; rank < count; ++rank) {
    RankStart start;
    start.command = options_.command;
    start.environment = rank_variables(static_cast<int>(rank), options_, job, threads);
    if (cores.size() >= count)
      start.cores.assign(cores.begin() + rank * cores.size() / count,
                         cores.begin() + (rank + 1) * cores.size() / count);
    if (!options_.timelines.empty()) start.inherited = options_.timelines[rank];
    start.inherit_stdin = rank == 0;
    // A process that reads the terminal must be in its foreground group, which is ours: Ctrl-C then reaches
    // rank 0 by itself. All others hear of it from us.
    start.own_process_group = !(rank == 0 && terminal_.is_input());
    start.signal_mask = signals_.before();
    ranks_.push_back(PERI_TRY(RankProcess::start(start)));
  }
  return {};
}

Result<int> Job::run() {
  PERI_TRY(start());
  while (running()) PERI_TRY(wait());
  for (int rank = 0; rank < options_.ranks; ++rank) read_rest(rank);
  const int code = conclude();
  while (!writer_.empty()) PERI_TRY(wait());
  return code;
}

Status Job::wait() {
  struct Source {
    int rank;
    enum { end, out, err } what;
  };
  std::vector<pollfd> polled = {{signals_.descriptor(), POLLIN, 0}};
  std::vector<Source> sources;
  for (int rank = 0; rank < options_.ranks; ++rank) {
    RankProcess& process = ranks_[rank];
    auto add = [&](int descriptor, Source source) {
      polled.push_back({descriptor, POLLIN, 0});
      sources.push_back(source);
    };
    if (process.running()) add(process.pid_descriptor(), {rank, Source::end});
    if (writer_.full()) continue;
    if (process.out.valid() && !output_.full(rank, Stream::out)) add(process.out.get(), {rank, Source::out});
    if (process.err.valid() && !output_.full(rank, Stream::err)) add(process.err.get(), {rank, Source::err});
  }
  const bool writing = !writer_.empty();
  if (writing) polled.push_back({writer_.descriptor(), POLLOUT, 0});

  int timeout = -1;
  if (auto next = next_deadline())
    timeout = std::max(
        0, static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(*next - Clock::now()).count()));
  if (poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR)
    return fail(Code::IoError, fmt::format("cannot wait for the ranks: {}", strerror(errno)));

  if (writing && polled.back().revents != 0) PERI_TRY(writer_.write_some());
  // Output first, ends last: what a rank said comes before what is said about its end.
  for (size_t i = 0; i < sources.size(); ++i) {
    if (polled[i + 1].revents == 0 || sources[i].what == Source::end) continue;
    read_some(sources[i].rank, sources[i].what == Source::out ? Stream::out : Stream::err);
  }
  for (size_t i = 0; i < sources.size(); ++i) {
    if (polled[i + 1].revents != 0 && sources[i].what == Source::end) on_end(sources[i].rank);
  }
  while (auto info = signals_.next()) on_signal(*info);
  act_on_deadlines();
  return {};
}

void Job::on_signal(const signalfd_siginfo& info) {
  const bool again = stop_signal_ != 0;
  if (!again) stop_signal_ = static_cast<int>(info.ssi_signo);
  if (again || !running()) {
    kill_all();
    writer_.drop();
    return;
  }
  told_to_end_ = true;
  kill_at_ = Clock::now() + kKillAfterSignal;
  for (int rank = 0; rank < options_.ranks; ++rank) {
    bool has_it =
        rank == 0 && terminal_.is_input() && info.ssi_code == SI_KERNEL;  // the terminal sent it to both
    if (!has_it) ranks_[rank].signal(stop_signal_ == SIGPIPE ? SIGTERM : stop_signal_);
  }
}

void Job::on_end(int rank) {
  RankEnd& end = ends_[rank];
  end.at = Clock::now();
  end.by_launcher = told_to_end_;
  ExitStatus status = ranks_[rank].reap();
  end.code = status.code;
  end.signal = status.signal;
  if (status.code != 0 && !kill_at_) {
    terminate_at_ = end.at + kMomentAfterFailure;
    kill_at_ = end.at + kKillAfterFailure;
  }
  if (terminate_at_ && only_stopped_run()) terminate_at_ = kill_at_ = end.at;
}

// One piece of a rank's output. False when there is nothing now, or nothing more.
bool Job::read_some(int rank, Stream stream) {
  kernels::os::Fd& pipe = pipe_of(ranks_[rank], stream);
  if (!pipe.valid()) return false;
  std::array<char, kReadBytes> bytes;
  ssize_t count = read(pipe.get(), bytes.data(), bytes.size());
  if (count > 0) {
    output_.feed(rank, stream, {bytes.data(), static_cast<size_t>(count)}, Clock::now());
    return true;
  }
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  pipe.reset();
  output_.end(rank, stream, Clock::now());
  return false;
}

// What is still in the pipes of a rank that has ended. A process it left behind could hold them open, so this
// does not wait for their end, and reads no more than a pipe can hold.
void Job::read_rest(int rank) {
  for (Stream stream : {Stream::out, Stream::err}) {
    for (size_t pieces = 0; pieces < 64 && read_some(rank, stream); ++pieces) {
    }
    pipe_of(ranks_[rank], stream).reset();
    output_.end(rank, stream, Clock::now());
  }
}

void Job::act_on_deadlines() {
  const Time now = Clock::now();
  if (terminate_at_ && now >= *terminate_at_) {
    terminate_at_.reset();
    told_to_end_ = true;
    for (int rank = 0; rank < options_.ranks; ++rank) {
      ends_[rank].stopped_by = ranks_[rank].stopped_by().value_or(0);
      ranks_[rank].signal(SIGTERM);
    }
  }
  if (kill_at_ && now >= *kill_at_) {
    kill_at_ = Time::max();
    kill_all();
    if (stop_signal_ != 0) writer_.drop();  // who does not read by now, does not want to
  }
  output_.tick(now);
}

void Job::kill_all() {
  told_to_end_ = true;
  for (RankProcess& rank : ranks_) rank.kill();
}

std::optional<Time> Job::next_deadline() const {
  std::optional<Time> next = output_.next_deadline();
  for (const auto& other : {terminate_at_, kill_at_}) {
    if (other && *other != Time::max()) next = std::min(next.value_or(*other), *other);
  }
  return next;
}

int Job::conclude() {
  if (stop_signal_ != 0) {
    if (stop_signal_ == SIGINT && options_.ranks > 1) writer_.add(Stream::err, "peri: interrupted\n");
    return 128 + stop_signal_;
  }
  auto cause = first_cause(ends_);
  if (!cause) return 0;
  writer_.add(Stream::err, failure_report(ends_, *cause, output_.tail(*cause)));
  return ends_[*cause].code;
}

}  // namespace

Status check_memory(int ranks, Bytes available) {
  constexpr Bytes kMiB(1 << 20);
  const Bytes needed = ranks * kBytesPerRank;
  if (needed <= available) return {};
  return fail(Code::OutOfMemory,
              fmt::format("{} ranks need at least {} MiB ({} MiB each), and {} MiB of memory are available",
                          ranks, needed / kMiB, kBytesPerRank / kMiB, available / kMiB),
              {}, fmt::format("at most {} ranks fit", std::max<int64_t>(available / kBytesPerRank, 0)));
}

Result<int> launch(const LaunchOptions& options) {
  if (options.ranks < 1 || options.ranks > kMaxRanks)
    return fail(Code::InvalidArgument, fmt::format("the number of ranks must be from 1 to {}, and it is {}",
                                                   kMaxRanks, options.ranks));
  if (options.command.empty()) return fail(Code::InvalidArgument, "there is no command for the ranks to run");
  if (!(options.timeout_s > 0))
    return fail(Code::InvalidArgument,
                fmt::format("the timeout must be positive, and it is {}", options.timeout_s));
  PERI_TRY(check_memory(options.ranks, kernels::os::available_memory()));
  return Job(options).run();
}

}  // namespace peri::launcher
