#include "bindings/launcher/rank_process.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>

namespace peri::launcher {
namespace {

struct Pipe {
  kernels::os::Fd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return fail(Code::IoError, fmt::format("cannot start a rank: no pipe: {}", strerror(errno)));
  return Pipe{kernels::os::Fd(ends[0]), kernels::os::Fd(ends[1])};
}

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> list;
  for (const std::string& string : strings) list.push_back(const_cast<char*>(string.c_str()));
  list.push_back(nullptr);
  return list;
}

// What the child does between fork and exec: only calls that are safe there. Returns when it cannot exec,
// with errno.
void become_rank(const RankStart& start, char** argv, char** envp, const cpu_set_t* cores, size_t cores_bytes,
                 pid_t launcher, int out, int err) {
  // The kernel kills the rank when the launcher dies. It may have died already, before the first line took
  // effect.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return;
  if (getppid() != launcher) _exit(1);
  if (start.own_process_group) setpgid(0, 0);
  if (!start.cores.empty())
    sched_setaffinity(0, cores_bytes, cores);  // a wish: cores may be taken away meanwhile
  if (!start.inherit_stdin) {
    int null = open("/dev/null", O_RDONLY);
    if (null < 0) return;
    if (null != STDIN_FILENO) {
      dup2(null, STDIN_FILENO);
      close(null);
    }
  }
  if (start.inherited >= 0 && fcntl(start.inherited, F_SETFD, 0) != 0) return;
  if (dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0) return;
  pthread_sigmask(SIG_SETMASK, &start.signal_mask, nullptr);
  execve(argv[0], argv, envp);
}

}  // namespace

Result<RankProcess> RankProcess::start(const RankStart& start) {
  RankProcess rank;
  rank.own_process_group_ = start.own_process_group;
  Pipe out = PERI_TRY(make_pipe());
  Pipe err = PERI_TRY(make_pipe());
  Pipe failure = PERI_TRY(make_pipe());  // exec closes it; else the child writes errno into it
  std::vector<char*> argv = pointers(start.command);
  std::vector<char*> envp = pointers(start.environment);
  std::array<cpu_set_t, 8> cores{};
  for (int core : start.cores) CPU_SET_S(core, sizeof(cores), cores.data());
  const pid_t launcher = getpid();

  rank.pid_ = fork();
  if (rank.pid_ < 0)
    return fail(Code::IoError, fmt::format("cannot start a rank: fork: {}", strerror(errno)));
  if (rank.pid_ == 0) {
    become_rank(start, argv.data(), envp.data(), cores.data(), sizeof(cores), launcher, out.write.get(),
                err.write.get());
    int why = errno;
    [[maybe_unused]] ssize_t written = write(failure.write.get(), &why, sizeof(why));
    _exit(127);
  }
  rank.pid_descriptor_ = kernels::os::Fd(static_cast<int>(syscall(SYS_pidfd_open, rank.pid_, 0)));
  if (!rank.pid_descriptor_.valid()) {
    int why = errno;
    ::kill(rank.pid_, SIGKILL);
    waitpid(rank.pid_, nullptr, 0);
    return fail(Code::IoError, fmt::format("cannot start a rank: pidfd_open: {}", strerror(why)));
  }
  failure.write.reset();
  int why = 0;
  ssize_t got;
  do got = read(failure.read.get(), &why, sizeof(why));
  while (got < 0 && errno == EINTR);
  if (got == sizeof(why))
    return fail(Code::IoError, fmt::format("cannot start {}: {}", start.command.front(), strerror(why)));
  rank.out = std::move(out.read);
  rank.err = std::move(err.read);
  fcntl(rank.out.get(), F_SETFL, O_NONBLOCK);
  fcntl(rank.err.get(), F_SETFL, O_NONBLOCK);
  return rank;
}

RankProcess::~RankProcess() {
  if (!running()) return;
  kill();
  reap();
}

void RankProcess::signal(int signal_number) {
  if (running()) ::kill(pid_, signal_number);
}

void RankProcess::kill() {
  if (!running()) return;
  if (own_process_group_) ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);  // also right after fork, when it is not yet in its group
}

std::optional<int> RankProcess::stopped_by() const {
  siginfo_t info{};
  if (running() && waitid(P_PID, pid_, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_)
    return info.si_status;
  return std::nullopt;
}

ExitStatus RankProcess::reap() {
  siginfo_t info{};
  while (waitid(P_PID, pid_, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  // Before the wait that frees the pid: until then the group's number cannot belong to anyone else.
  if (own_process_group_) ::kill(-pid_, SIGKILL);
  while (waitid(P_PID, pid_, nullptr, WEXITED) != 0 && errno == EINTR) {
  }
  pid_descriptor_.reset();
  if (info.si_code == CLD_EXITED) return {info.si_status, 0};
  return {128 + info.si_status, info.si_status};
}

}  // namespace peri::launcher
