// See script.hpp.
#include "bindings/commands/script.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include "bindings/commands/report.hpp"
#include "bindings/commands/signals.hpp"
#include "bindings/compiled/compile.hpp"
#include "bindings/files/atomic_file.hpp"
#include "bindings/launcher/exit_codes.hpp"
#include "bindings/lua/chunk.hpp"
#include "bindings/lua/environment.hpp"
#include "bindings/session/session.hpp"
#include "core/env.hpp"
#include "core/thread.hpp"
#include "kernels/plugin/plugin.hpp"
#include "kernels/timeline/timed_backend.hpp"

namespace peri::commands {
namespace {

Result<int> raise_interrupted(lua_State* L) {
  return fail(Code::Interrupted, "interrupted", lua::origin(L));
}

int remember_traceback(lua_State* L);

// Stays set, and so strikes again after each pcall of the script that catches it: a loop of pcalls ends too.
// The handler of the error that it raises, or that a wait raised at the same time, is let through.
void interrupt_hook(lua_State* L, lua_Debug* frame) {
  lua_getinfo(L, "f", frame);
  const bool handling = lua_tocfunction(L, -1) == remember_traceback;
  lua_pop(L, 1);
  if (!handling) lua::wrap<raise_interrupted>(L);
}

// --- running ---

constexpr const char* kTraceback = "peri.traceback";

// Runs where the error was raised, so what has no message of its own gets at least its place.
int remember_traceback(lua_State* L) {
  if (!lua_isstring(L, 1)) lua::push_error(L, lua::take_error(L));
  const std::string text = lua::traceback(L);
  lua_pushlstring(L, text.data(), text.size());
  lua_setfield(L, LUA_REGISTRYINDEX, kTraceback);
  return 1;
}

// Leaves one result on the stack.
Status call(lua_State* L, int arguments) {
  lua_pushcfunction(L, remember_traceback);
  lua_insert(L, -2 - arguments);
  const int handler = lua_gettop(L) - arguments - 1;
  const int status = lua_pcall(L, arguments, 1, handler);
  if (status != 0) return std::unexpected(lua::take_error(L));
  lua_remove(L, handler);
  return {};
}

Status write_file(const std::string& path, const std::string& text) {
  files::AtomicFile file = PERI_TRY(files::AtomicFile::create(path));
  PERI_TRY(file.write(text.data(), text.size()));
  return file.take_place();
}

Status explain(lua_State* L, const ScriptOptions& options) {
  const std::vector<ReportEntry> entries = lua::compiled::compiled_programs(L);
  std::string dot;
  for (const ReportEntry& entry : entries) {
    fmt::print("== {}\n{}\n", entry.title, entry.program->explain());
    dot += print_dot(entry.program->graph);
  }
  if (entries.empty()) fmt::print("the script compiled nothing\n");
  if (!options.dot.empty()) PERI_TRY(write_file(options.dot, dot));
  if (!options.html.empty()) PERI_TRY(write_file(options.html, html_report(options.path, entries)));
  return {};
}

Status run(lua_State* L, const ScriptOptions& options, session::Session& session) {
  lua::set_up_environment(L, options.path, options.arguments);
  if (!options.jit) luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  if (options.explain) lua::compiled::keep_compiled(L);
  PERI_TRY(lua::load_file(L, options.path));
  if (!lua_checkstack(L, static_cast<int>(options.arguments.size()) + 8))
    return fail(Code::InvalidArgument,
                fmt::format("{} arguments are more than a script can be given", options.arguments.size()), {},
                "about 7,900 fit; pass the name of a file that lists them");
  for (const std::string& a : options.arguments) lua_pushstring(L, a.c_str());
  PERI_TRY(call(L, static_cast<int>(options.arguments.size())));
  if (lua_istable(L, -1)) {  // a plan's code returns a program, whose `main` runs it on examples
    lua_getfield(L, -1, "main");
    if (lua_isfunction(L, -1)) PERI_TRY(call(L, 0));
  }
  if (options.explain && session.rank() == 0) PERI_TRY(explain(L, options));
  return {};
}

std::string with_traceback(lua_State* L, const Error& error) {
  std::string text = error.to_string() + "\n";
  lua_getfield(L, LUA_REGISTRYINDEX, kTraceback);
  const std::string frames = lua_isstring(L, -1) ? lua_tostring(L, -1) : "";
  lua_pop(L, 1);
  if (std::count(frames.begin(), frames.end(), '\n') > 1) text += "stack traceback:\n" + frames;
  return text;
}

}  // namespace

// The threads that a driver starts take no signals either.
static Result<std::unique_ptr<kernels::Backend>> create(const std::string& name,
                                                        const kernels::JobOptions& job) {
  const SignalBlock block;
  return kernels::create_backend(name, job);
}

// Lua's stack is limited, and its limit becomes an error. A C function that calls Lua (string.gsub's
// replacement, a comparison of table.sort) takes some of the C stack too, at most about 10 KiB a level, so
// that the main thread's must be larger than the usual 8 MiB to get there first.
static void raise_stack_limit() {
  constexpr rlim_t kStack = rlim_t{112} << 20;  // the kernel leaves room for 128 MiB
  rlimit limit{};
  if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= kStack) return;
  limit.rlim_cur = std::min(kStack, limit.rlim_max);
  setrlimit(RLIMIT_STACK, &limit);
}

int run_script(const ScriptOptions& options, const kernels::JobOptions& job,
               kernels::TimelineSink* timeline) {
  setvbuf(stdout, nullptr, _IOLBF, 1 << 16);
  signal(SIGPIPE, SIG_IGN);
  raise_stack_limit();
  auto backend = create(options.backend, job);
  if (!backend) {
    fmt::print(stderr, "{}\n", backend.error().to_string());
    return launcher::exit_code_for(backend.error().code);
  }
  session::Session session(timeline ? with_timeline(std::move(*backend), *timeline) : std::move(*backend),
                           options.compile);
  lua_State* L = luaL_newstate();
  if (!L) {
    fmt::print(stderr, "no memory for a Lua state\n");
    return launcher::kExitScriptError;
  }
  lua::set_session(L, &session);
  std::optional<StopSignals> signals(std::in_place, L, interrupt_hook, session.backend().interrupt_flag());
  Status status = run(L, options, session);
  if (status) status = session.backend().synchronize();  // what a device has yet to tell
  signals->end_of_script();
  if (!status) {
    // The peers learn of it before anything else: they may be waiting.
    session.backend().abort(status.error());
    fmt::print(stderr, "{}", with_traceback(L, status.error()));
  }
  if ((fflush(stdout) != 0 || ferror(stdout)) && status) {
    status = fail(Code::IoError, std::string("standard output cannot be written: ") + strerror(errno));
    fmt::print(stderr, "peri: {}\n", status.error().to_string());
  }
  lua_close(L);
  signals.reset();
  session.backend().leave();
  return status ? launcher::kExitOk : launcher::exit_code_for(status.error().code);
}

}  // namespace peri::commands
