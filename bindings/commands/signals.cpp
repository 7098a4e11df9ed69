// See signals.hpp. Everything that a handler calls is async-signal-safe: atomics, clock_gettime, alarm,
// pthread_kill, and lua_sethook, which Lua allows in handlers.
#include "bindings/commands/signals.hpp"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace peri::commands {
namespace {

// What the handlers see; written while none is installed.
struct Target {
  std::atomic<bool>* interrupt = nullptr;
  std::atomic<lua_State*> state = nullptr;
  lua_Hook hook = nullptr;
  pthread_t thread{};
  int64_t first_ms = 0;
  std::atomic<bool> terminating = false;
};
Target target;

alignas(64) std::array<std::byte, 64 << 10> handler_stack;

int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// Ends the process by the signal, as if nothing handled it.
void die_of(int signal_number) {
  signal(signal_number, SIG_DFL);
  sigset_t one;
  sigemptyset(&one);
  sigaddset(&one, signal_number);
  raise(signal_number);
  pthread_sigmask(SIG_UNBLOCK, &one, nullptr);
  _exit(128 + signal_number);  // the first process of a container does not die of signals
}

// Whether the signal is for this thread; otherwise it is passed on.
bool is_ours(int signal_number) {
  if (pthread_equal(pthread_self(), target.thread)) return true;
  pthread_kill(target.thread, signal_number);
  return false;
}

void on_stop(int signal_number) {
  const int saved = errno;
  if (is_ours(signal_number)) {
    const bool again = target.interrupt->exchange(true);
    if (!again) target.first_ms = now_ms();
    if (again && signal_number == SIGINT && now_ms() - target.first_ms > StopSignals::kOneWish.count())
      die_of(SIGINT);
    if (signal_number == SIGTERM && !target.terminating.exchange(true))
      alarm(static_cast<unsigned>(StopSignals::kTerminateAfter.count()));
    if (lua_State* L = target.state.load())
      lua_sethook(L, target.hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
  }
  errno = saved;
}

void on_alarm(int) {
  if (is_ours(SIGALRM)) die_of(SIGTERM);
}

void handle(int signal_number, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_ONSTACK;
  for (int each : {SIGINT, SIGTERM, SIGALRM}) sigaddset(&action.sa_mask, each);
  sigaction(signal_number, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals(lua_State* L, lua_Hook hook, std::atomic<bool>& interrupt) {
  target.interrupt = &interrupt;
  target.hook = hook;
  target.state = L;
  target.terminating = false;
  target.thread = pthread_self();
  stack_t stack{};
  sigaltstack(nullptr, &stack);
  if (stack.ss_flags & SS_DISABLE) {  // a sanitizer has set one of its own
    stack = {.ss_sp = handler_stack.data(), .ss_flags = 0, .ss_size = handler_stack.size()};
    sigaltstack(&stack, nullptr);
  }
  handle(SIGINT, on_stop);
  handle(SIGTERM, on_stop);
  handle(SIGALRM, on_alarm);
}

void StopSignals::end_of_script() {
  lua_State* L = target.state.exchange(nullptr);
  lua_sethook(L, nullptr, 0, 0);
}

StopSignals::~StopSignals() {
  alarm(0);
  for (int each : {SIGINT, SIGTERM, SIGALRM}) signal(each, SIG_DFL);
}

}  // namespace peri::commands
