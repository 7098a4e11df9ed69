// Threads of our own, and which of the process's signals they see: none. A handler that ran on the stack of a
// thread that computes could overwrite what it computes, as oneDNN's generated code keeps values below the
// stack pointer; and the launcher reads its signals as data, which a thread that takes them would steal.
#pragma once

#include <signal.h>

#include <system_error>
#include <thread>
#include <utility>

#include "core/error.hpp"

namespace peri {

// While this lives, the calling thread handles no signal, and neither do the threads that are started
// meanwhile, by us or by a library, for as long as they live. What a fault raises is still handled.
class SignalBlock {
 public:
  SignalBlock() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS}) sigdelset(&blocked, fault);
    pthread_sigmask(SIG_BLOCK, &blocked, &before_);
  }
  ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalBlock(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

// A thread that runs `work` and handles no signal. OutOfMemory if the system gives no more threads.
template <class Work>
Result<std::jthread> start_thread(Work&& work) {
  const SignalBlock block;
  try {
    return std::jthread(std::forward<Work>(work));
  } catch (const std::system_error& error) {  // the only way in which the standard library says so
    return fail(Code::OutOfMemory, std::string("the system gives no more threads: ") + error.what(), {},
                "a limit of processes (ulimit -u, or a container's) is reached");
  }
}

}  // namespace peri
