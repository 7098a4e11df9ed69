// How SIGINT (Ctrl-C) and SIGTERM stop a script: at the first, every wait of the backend and the script
// itself end with Interrupted. A rank that does not listen, because it computes or loops in a finalizer, is
// ended by a second Ctrl-C at once and by SIGTERM after kTerminateAfter.
#pragma once

#include <lua.hpp>

#include <atomic>
#include <chrono>

namespace peri::commands {

// From its construction to its destruction signals stop this script; one at a time, in the thread that runs
// the script. Handlers run on a stack of their own (core/thread.hpp says why); another thread that takes a
// signal passes it on to this one.
class StopSignals {
 public:
  static constexpr std::chrono::seconds kTerminateAfter{1};
  // Signals that arrive sooner after each other are one wish: a terminal and a launcher may both send it.
  static constexpr std::chrono::milliseconds kOneWish{100};

  // At a signal Lua calls `hook` as often as it can, and `interrupt` is true.
  StopSignals(lua_State* L, lua_Hook hook, std::atomic<bool>& interrupt);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;

  // The script has ended: the interrupt flag is still set, but Lua is not asked to stop any more.
  void end_of_script();
};

}  // namespace peri::commands
