// See doctor.hpp.
#include "bindings/doctor.hpp"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <lua.hpp>

#include "bindings/launcher/machine.hpp"
#include "bindings/script.hpp"
#include "core/env.hpp"
#include "kernels/host/versions.hpp"
#include "kernels/plugin.hpp"

namespace peri {
namespace {

std::string row(const char* name, const std::string& value) {
  return fmt::format("  {:<22}{}\n", name, value);
}

std::string gib(int64_t bytes) {
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
}

std::string cuda_rows() {
  const auto lines = describe_cuda();
  if (!lines) return row("cuda", lines.error().message);
  std::string text;
  for (size_t i = 0; i < lines->size(); ++i) text += row(i == 0 ? "cuda" : "", (*lines)[i]);
  return text;
}

}  // namespace

std::string doctor_report() {
  utsname system = {};
  uname(&system);
  const int cores = usable_cores();
  std::string text = "machine\n";
  text += row("system", fmt::format("{} {} {}", system.sysname, system.release, system.machine));
  text += row("cores", fmt::format("{} allowed, {} usable", allowed_cores().size(), cores));
  text += row("memory", gib(available_memory()) + " available");
  text += row("vector instructions", host::instruction_set());
  text += "libraries\n";
  text += row("oneDNN", host::matmul_library());
  text += row("LuaJIT", LUAJIT_VERSION);
  text += "backends\n";
  text += row("host", "symmetric memory by memfd, collectives over shared memory, matmul by oneDNN");
  text += cuda_rows();
  text += "what `peri run -n N` will use\n";
  for (int ranks : {1, 2, 4, 8})
    text += row(
        fmt::format("N = {}", ranks).c_str(),
        fmt::format("{} thread{} a rank; waits {}", std::max(1, cores / ranks), cores / ranks > 1 ? "s" : "",
                    ranks <= cores ? "spin briefly, then sleep" : "sleep at once: more ranks than cores"));
  const Environment& env = environment();
  text += row("timeout", fmt::format("{} s for a silent rank", env.timeout));
  text += row("NVLink multicast", env.allows_multicast() ? "asked for by PERI_MULTICAST=1" : "off");
  for (const Error& error : env.malformed) text += row("ignored", error.message);
  return text;
}

}  // namespace peri
