// See doctor.hpp.
#include "bindings/commands/doctor.hpp"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <algorithm>
#include <lua.hpp>

#include "bindings/commands/job.hpp"
#include "bindings/launcher/machine.hpp"
#include "core/bytes.hpp"
#include "core/env.hpp"
#include "kernels/host/describe.hpp"
#include "kernels/os/machine.hpp"
#include "kernels/plugin/plugin.hpp"

namespace peri::commands {
namespace {

// Breaks what is longer than 100 columns between words.
std::string row(const std::string& name, const std::string& value) {
  constexpr size_t kColumns = 76;
  std::string text, rest = value, label = name;
  do {
    size_t end = rest.size() <= kColumns ? rest.size() : rest.rfind(' ', kColumns);
    if (end == rest.npos) end = std::min(rest.find(' '), rest.size());
    text += fmt::format("  {:<22}{}\n", label, rest.substr(0, end));
    rest.erase(0, end + 1);
    label.clear();
  } while (!rest.empty());
  return text;
}

std::string rows(const std::vector<kernels::CudaReport::Row>& report) {
  std::string text;
  for (const auto& [name, value] : report) text += row(name, value);
  return text;
}

}  // namespace

std::string doctor_report() {
  utsname system = {};
  uname(&system);
  const int cores = launcher::usable_cores();
  const Environment& env = environment();
  const Result<kernels::CudaReport> cuda = kernels::describe_cuda();
  std::string text = "machine\n";
  text += row("system", fmt::format("{} {} {}", system.sysname, system.release, system.machine));
  text += row("cores", fmt::format("{} allowed, {} usable", launcher::allowed_cores().size(), cores));
  text += row("memory", describe_bytes(kernels::os::available_memory()) + " available");
  text += row("vector instructions", kernels::host::instruction_set());
  text += "libraries\n";
  text += row("oneDNN", kernels::host::matmul_library());
  text += row("LuaJIT", LUAJIT_VERSION);
  if (cuda) text += rows(cuda->libraries);
  text += "backends\n";
  text += row("host", "symmetric memory by memfd, collectives over shared memory, matmul by oneDNN");
  text += cuda ? rows(cuda->machine) : row("cuda", cuda.error().message);
  text += "what `peri run -n N` will use\n";
  for (int ranks : {1, 2, 4, 8}) {
    const kernels::JobOptions job = job_options(0, ranks, "", env.timeout);
    text += row(
        fmt::format("N = {}", ranks),
        fmt::format("{} thread{} a rank; waits {}", job.threads, job.threads > 1 ? "s" : "",
                    job.may_spin ? "spin briefly, then sleep" : "sleep at once: more threads than cores"));
  }
  if (cuda) text += "what its collectives will go through on GPUs\n" + rows(cuda->paths);
  text += "settings\n";
  text += row("timeout", fmt::format("{} s for a silent rank", env.timeout));
  const std::string multicast = env.multicast_refusal();
  text += row("NVLink multicast", multicast.empty() ? "asked for" : "off: " + multicast);
  for (const Error& error : env.malformed) text += row("ignored", error.message);
  return text;
}

}  // namespace peri::commands
