// Runs one Lua script as one rank of a job: the Lua state, its limits and signals, and how an error ends the
// rank.
#pragma once

#include <string>
#include <vector>

#include "bindings/session/session.hpp"
#include "kernels/backend.hpp"
#include "kernels/timeline/timeline.hpp"

namespace peri::commands {

struct ScriptOptions {
  std::string path;
  std::vector<std::string> arguments;
  std::string backend = "auto";  // "host", "cuda", or "auto": cuda where there is a GPU
  bool jit = false;              // LuaJIT's compiled loops ignore Ctrl-C, so they are asked for
  bool explain = false;          // after the script, rank 0 prints what was compiled and why
  std::string dot;               // with explain: the compiled functions' graphs in DOT, into this file
  std::string html;              // with explain: the report, into this file
  session::CompileOptions compile = {};
};

// The exit code (launcher/exit_codes.hpp). Whatever went wrong has been printed on stderr. The rank's
// timeline goes to `timeline`, if there is one.
int run_script(const ScriptOptions& options, const kernels::JobOptions& job, kernels::TimelineSink* timeline);

}  // namespace peri::commands
