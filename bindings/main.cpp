// The program `peri`: its commands and their options.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <optional>
#include <random>

#include "bindings/compiled.hpp"
#include "bindings/doctor.hpp"
#include "bindings/launcher/exit_codes.hpp"
#include "bindings/launcher/launcher.hpp"
#include "bindings/launcher/rank_environment.hpp"
#include "bindings/manual.hpp"
#include "bindings/script.hpp"
#include "core/env.hpp"
#include "planner/plan.hpp"

namespace peri {
namespace {

struct Options {
  int ranks = 1;
  std::string backend = "auto";
  double timeout_s = environment().timeout;
  bool merge = false;
  ScriptOptions script;
  std::vector<std::string> topic;
};

int report(const Error& error) {
  fmt::print(stderr, "peri: {}\n", error.to_string());
  return error.code == Code::InvalidArgument || error.code == Code::NotFound ? kExitUsage
                                                                             : exit_code_for(error.code);
}

// Only what is asked for and cannot be had is an error; `auto` takes what is there.
Status check_backend(const std::string& backend) {
  if (backend == "auto" || backend == "host") return {};
  return fail(Code::Unsupported, "this version has no CUDA backend", {},
              "use --backend host or --backend auto");
}

Status check_passes(const CompileOptions& options) {
  const auto known = pass_names();
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

// A job name of its own for a process that is the only rank.
std::string lone_job() {
  return fmt::format("{:016x}", std::random_device{}() * 0x100000001ull);
}

// `rank_main` on every rank of the job: in this process if a launcher started it or one rank is all, else in
// new ones.
template <class F>
Result<int> on_every_rank(const Options& options, std::vector<std::string> command, F rank_main) {
  PERI_TRY(check_backend(options.backend));
  for (const Error& error : environment().malformed) return std::unexpected(error);
  if (auto rank = PERI_TRY(rank_environment(environment())))
    return rank_main(job_options(rank->rank, rank->world_size, rank->job, options.timeout_s));
  if (options.ranks == 1) return rank_main(job_options(0, 1, lone_job(), options.timeout_s));
  LaunchOptions launch_options;
  launch_options.ranks = options.ranks;
  launch_options.command = std::move(command);
  launch_options.timeout_s = options.timeout_s;
  launch_options.merge_identical = options.merge;
  return launch(launch_options);
}

void add_job_options(CLI::App* command, Options& options) {
  command->add_option("-n,--ranks", options.ranks, "How many ranks")->capture_default_str();
  command->add_option("--backend", options.backend, "host, cuda or auto")
      ->check(CLI::IsMember({"host", "cuda", "auto"}))
      ->capture_default_str();
  command->add_option("--timeout", options.timeout_s, "Seconds to wait for a silent rank")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void add_script_options(CLI::App* command, Options& options) {
  add_job_options(command, options);
  command->add_flag("--merge", options.merge, "Print what all ranks print alike once");
  command->add_flag("--jit", options.script.jit,
                    "Let LuaJIT compile the script's loops (Ctrl-C then waits for them)");
  command->add_option("--print-after", compile_options().print_after,
                      "Print the program after this pass (repeatable)");
  command->add_flag("--print-changed", compile_options().print_changed,
                    "Print the program after each pass that changed it");
  command->add_option("--skip", compile_options().skip, "Leave out this pass (repeatable)");
  command->add_option("script", options.script.path, "The Lua script")->required();
  command->prefix_command();
}

Result<int> script_command(Options& options, const std::vector<std::string>& rest, int argc, char** argv) {
  PERI_TRY(check_passes(compile_options()));
  options.script.arguments.insert(options.script.arguments.end(), rest.begin(), rest.end());
  std::vector<std::string> command(argv, argv + argc);
  command[0] = "/proc/self/exe";
  return on_every_rank(options, command,
                       [&](const JobOptions& job) { return run_script(options.script, job); });
}

Result<int> help_command(const std::vector<std::string>& topic) {
  if (topic.empty()) fmt::print("{}", manual_index());
  for (const std::string& name : topic) fmt::print("{}", PERI_TRY(manual(name)));
  return kExitOk;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Perilune compiles tensor programs written in Lua and runs them on every rank of a job.",
               "peri"};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("peri 0.1.0"));
  auto* run = app.add_subcommand("run", "Launch a script on N ranks");
  add_script_options(run, options);
  auto* explain = app.add_subcommand("explain", "Run a script and print what was compiled, and why");
  add_script_options(explain, options);
  explain->add_option("--dot", options.script.dot, "Write the graphs in DOT to this file");
  auto* doctor = app.add_subcommand("doctor", "What this machine has and what peri will use");
  auto* help = app.add_subcommand("help", "The reference manual: peri help all_reduce");
  help->add_option("op", options.topic, "An op");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // the edge where CLI11's exceptions enter
    const int code = app.exit(error);
    return code == 0 ? kExitOk : kExitUsage;
  }

  Result<int> result = kExitOk;
  if (*run || *explain) {
    options.script.explain = static_cast<bool>(*explain);
    result = script_command(options, (*run ? run : explain)->remaining(), argc, argv);
  } else if (*doctor) {
    fmt::print("{}", doctor_report());
  } else if (*help) {
    result = help_command(options.topic);
  }
  return result ? *result : report(result.error());
}

}  // namespace
}  // namespace peri

int main(int argc, char** argv) {
  return peri::run(argc, argv);
}
