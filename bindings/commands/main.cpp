// The program `peri`: its commands and their options.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "bindings/commands/bench.hpp"
#include "bindings/commands/doctor.hpp"
#include "bindings/commands/job.hpp"
#include "bindings/commands/script.hpp"
#include "bindings/files/atomic_file.hpp"
#include "bindings/files/timeline_file.hpp"
#include "bindings/launcher/exit_codes.hpp"
#include "bindings/lua/environment.hpp"
#include "bindings/manual/manual.hpp"
#include "bindings/manual/stubs.hpp"
#include "bindings/session/compiled.hpp"
#include "core/env.hpp"
#include "kernels/plugin/plugin.hpp"
#include "planner/plan.hpp"

namespace peri::commands {
namespace {

struct Options {
  StartOptions start;
  ScriptOptions script;
  bool stubs = false;
  BenchOptions bench;
  std::string bench_op = "all_reduce", bench_dtype = "f32";
};

Status check_passes(const session::CompileOptions& options) {
  const auto known = planner::pass_names();
  std::vector<std::string> named = options.print_after;
  named.insert(named.end(), options.skip.begin(), options.skip.end());
  for (const std::string& name : named) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    auto near = nearest(name, known);
    return fail(Code::NotFound, fmt::format("no pass '{}'", name), {},
                near ? fmt::format("did you mean '{}'?", *near)
                     : fmt::format("the passes are {}", fmt::join(known, ", ")));
  }
  return {};
}

// Looked for here, so that a job of many ranks says it once.
Status check_script(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) return {};
  const bool folder = std::filesystem::is_directory(path, ignored);
  return fail(Code::NotFound, path + (folder ? ": a folder, not a script" : ": no such script"));
}

// What a rank process is started with: this very command line, in the environment of a rank.
std::vector<std::string> rank_command(int argc, char** argv) {
  std::vector<std::string> command(argv, argv + argc);
  command[0] = "/proc/self/exe";
  return command;
}

// What the manual says of an option, so that --help says the same.
const std::string& about(const char* page, const char* option) {
  return manual::meaning_on_page(page, option);
}

void add_job_options(CLI::App* command, Options& options) {
  command->add_option("-n,--ranks", options.start.ranks, about("run", "--ranks"))->capture_default_str();
  command->add_option("--backend", options.start.backend, about("run", "--backend"))
      ->check(CLI::IsMember({"host", "cuda", "auto"}))
      ->capture_default_str();
  command->add_option("--timeout", options.start.timeout_s, about("run", "--timeout"))
      ->check([](const std::string& text) {
        double seconds = 0;
        const bool positive = CLI::detail::lexical_cast(text, seconds) && seconds > 0 && seconds < 1e9;
        return positive ? "" : "must be a positive number of seconds, not " + text;
      })
      ->capture_default_str();
}

void add_script_options(CLI::App* command, Options& options) {
  add_job_options(command, options);
  command->add_flag("--merge", options.start.merge, about("run", "--merge"));
  command->add_flag("--jit", options.script.jit, about("run", "--jit"));
  command->add_option("--print-after", options.script.compile.print_after, about("run", "--print-after"))
      ->type_name("PASS")
      ->allow_extra_args(false);
  command->add_flag("--print-changed", options.script.compile.print_changed, about("run", "--print-changed"));
  command->add_option("--skip", options.script.compile.skip, about("run", "--skip"))
      ->type_name("PASS")
      ->allow_extra_args(false);
}

// Takes the script and its arguments from what CLI11 left over: an option there is one that it does not know.
Status take_script(const CLI::App& command, ScriptOptions& script) {
  const std::vector<std::string> rest = command.remaining();
  if (rest.empty())
    return fail(Code::InvalidArgument, "no script is named", {},
                fmt::format("peri {} [options] script.lua [arguments]", command.get_name()));
  if (rest[0][0] == '-') {
    std::vector<std::string> known;
    for (const CLI::Option* option : command.get_options()) known.push_back(option->get_name());
    auto near = nearest(rest[0], known);
    return fail(Code::NotFound, fmt::format("no option '{}'", rest[0]), {},
                near ? fmt::format("did you mean '{}'?", *near)
                     : fmt::format("`peri {} --help` lists them", command.get_name()));
  }
  script.path = rest[0];
  script.arguments.assign(rest.begin() + 1, rest.end());
  return check_script(script.path);
}

// What stands behind the script is the script's; -n there is often a slip.
void warn_of_late_ranks(const ScriptOptions& script) {
  if (script.arguments.empty() || environment().rank || script.explain) return;
  const std::string& word = script.arguments.front();
  if (!word.starts_with("-n") && !word.starts_with("--ranks")) return;
  fmt::print(stderr,
             "peri: note: {0} came too late and is passed to the script: peri run {0} ... {1} starts ranks\n",
             word, script.path);
}

Result<int> script_command(Options& options, const CLI::App& command_line) {
  PERI_TRY(check_passes(options.script.compile));
  PERI_TRY(take_script(command_line, options.script));
  for (const std::string& path : {options.script.dot, options.script.html})
    if (!path.empty()) PERI_TRY(files::AtomicFile::create(path));  // now, and not after the run
  warn_of_late_ranks(options.script);
  return on_every_rank(options.start, [&](const kernels::JobOptions& job) -> Result<int> {
    std::unique_ptr<kernels::TimelineSink> timeline;
    if (!options.start.trace.empty())
      timeline = PERI_TRY(files::rank_timeline(options.start.trace, job.rank, environment()));
    return run_script(options.script, job, timeline.get());
  });
}

Result<int> help_command(const std::vector<std::string>& names, bool stubs) {
  if (stubs) {
    fmt::print("{}", manual::editor_stubs());
    return launcher::kExitOk;
  }
  if (names.empty()) fmt::print("{}", PERI_TRY(manual::manual("guide")));
  for (const std::string& name : names) fmt::print("{}", PERI_TRY(manual::manual(name)));
  return launcher::kExitOk;
}

// CLI11's words for what is wrong, in the shape of our own; what it prints on request is not an error.
int report_usage(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  if (error.get_exit_code() == 0) {
    app.exit(error);
    return launcher::kExitOk;
  }
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands(nullptr)) commands.push_back(command->get_name());
  Error ours{
      Code::InvalidArgument, error.what(), {}, {}, "`peri --help` lists the commands and their options"};
  if (error.get_name() == "RequiredError") ours.message = "no command is named";
  const std::string first = argc > 1 ? argv[1] : "-";
  if (first[0] != '-' && std::find(commands.begin(), commands.end(), first) == commands.end()) {
    ours.message = fmt::format("no command '{}'", first);
    if (auto near = nearest(first, commands)) ours.hint = fmt::format("did you mean `peri {}`?", *near);
  }
  return report(ours);
}

void add_bench_options(CLI::App* command, Options& options) {
  add_job_options(command, options);
  command->get_option("--ranks")->default_str("2");  // one has nobody to talk to
  command->add_option("op", options.bench_op, "A collective")->capture_default_str();
  command->add_option("--algorithms", options.bench.algorithms, about("bench", "--algorithms"))
      ->type_name("NAME");
  command->add_option("--sizes", options.bench.sizes, about("bench", "--sizes"));
  command->add_option("--dtype", options.bench_dtype, about("bench", "--dtype"))->capture_default_str();
  command->add_option("--rounds", options.bench.rounds, about("bench", "--rounds"))
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag_callback(
      "--no-peer", [&options] { options.bench.peer = false; }, about("bench", "--no-peer"));
}

Result<int> bench_command(Options& options) {
  if (environment().allows_multicast())
    return fail(Code::InvalidArgument, "NVLink multicast stays off in peri bench", {},
                "unset PERI_MULTICAST");
  std::error_code ignored;
  const auto op = find_op(options.bench_op);
  if (!op || !info(*op).has(kCollective)) {
    auto near = nearest(options.bench_op, op_names());
    return fail(Code::NotFound, fmt::format("no collective '{}'", options.bench_op), {},
                near ? fmt::format("did you mean '{}'?", *near) : "for instance all_reduce");
  }
  options.bench.op = *op;
  options.bench.dtype = PERI_TRY(parse_dtype(options.bench_dtype));
  options.bench.peer_source = lua::library_folder() + "/bench/peers/mpi_allreduce.cpp";
  options.bench.build_folder = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  return on_every_rank(options.start, [&](const kernels::JobOptions& job) -> Result<int> {
    auto backend = PERI_TRY(create_backend(options.start.backend, job));
    const auto table = bench_collectives(*backend, options.bench);
    if (!table) {
      backend->abort(table.error());
      return std::unexpected(table.error());
    }
    fmt::print("{}", *table);
    backend->leave();
    return launcher::kExitOk;
  });
}

int run(int argc, char** argv) {
  Options options;
  options.start.timeout_s = environment().timeout;
  options.start.command = rank_command(argc, argv);
  CLI::App app{"Perilune compiles tensor programs written in Lua and runs them on every rank of a job.",
               "peri"};
  app.require_subcommand(1);
  app.footer(
      "`peri help environment` lists the environment variables, `peri help exit-codes` how a job may end.");
  app.set_version_flag("--version", std::string("peri 0.1.0"));
  auto* run =
      app.add_subcommand("run", "Launch a script on N ranks: peri run [options] script.lua [arguments]");
  add_script_options(run, options);
  run->add_option("--trace", options.start.trace, about("run", "--trace"))->type_name("FILE");
  run->prefix_command();  // the first word that is no option is the script; the rest is the script's
  auto* explain = app.add_subcommand(
      "explain", "Run a script and print what was compiled, and why: peri explain [options] script.lua");
  add_script_options(explain, options);
  explain->allow_extras();  // its options may also follow the script
  explain->add_option("--dot", options.script.dot, about("explain", "--dot"))->type_name("FILE");
  explain->add_option("--html", options.script.html, about("explain", "--html"))->type_name("FILE");
  auto* bench = app.add_subcommand(
      "bench",
      "Time collectives, sizes x algorithms; on the host beside Open MPI: peri bench all_reduce -n 2");
  add_bench_options(bench, options);
  auto* doctor = app.add_subcommand("doctor", "What this machine has and what peri will use");
  auto* help = app.add_subcommand("help", "The reference manual: peri help [all_reduce]");
  help->add_flag("--stubs", options.stubs, about("help", "--stubs"));
  help->allow_extras();  // the names; also of options, such as --trace

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // the edge where CLI11's exceptions enter
    return report_usage(app, error, argc, argv);
  }

  options.script.backend = options.start.backend;
  Result<int> result = launcher::kExitOk;
  if (*run || *explain) {
    options.script.explain = static_cast<bool>(*explain);
    result = script_command(options, *run ? *run : *explain);
  } else if (*bench) {
    if (bench->count("--ranks") == 0) options.start.ranks = 2;
    result = bench_command(options);
  } else if (*doctor) {
    fmt::print("{}", doctor_report());
  } else if (*help) {
    result = help_command(help->remaining(), options.stubs);
  }
  return result ? *result : report(result.error());
}

// A standard descriptor that is closed would be the next pipe or file of ours. Writing to what stands there
// instead is an error, as it was.
void occupy_standard_descriptors() {
  for (int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(descriptor, F_GETFD) < 0) static_cast<void>(open("/dev/null", O_RDONLY));
}

}  // namespace
}  // namespace peri::commands

int main(int argc, char** argv) {
  peri::commands::occupy_standard_descriptors();
  return peri::commands::run(argc, argv);
}
