#include "bindings/launcher/machine.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <optional>
#include <string>

#include "kernels/os/machine.hpp"

namespace peri::launcher {
namespace {

std::optional<int64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value) return value;  // "max" is no number
  return std::nullopt;
}

std::optional<double> cpu_quota() {
  std::optional<double> least;
  auto consider = [&](double quota, double period) {
    if (quota > 0 && period > 0) least = std::min(least.value_or(quota / period), quota / period);
  };
  for (const std::string& folder : kernels::os::cgroup_folders("cpu")) {
    std::ifstream v2(folder + "/cpu.max");
    double quota = 0, period = 0;
    if (v2 >> quota >> period) consider(quota, period);
    auto v1_quota = read_number(folder + "/cpu.cfs_quota_us");
    auto v1_period = read_number(folder + "/cpu.cfs_period_us");
    if (v1_quota && v1_period) consider(static_cast<double>(*v1_quota), static_cast<double>(*v1_period));
  }
  return least;
}

}  // namespace

std::vector<int> allowed_cores() {
  std::array<cpu_set_t, 8> mask{};  // 8192 cores
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof(mask), mask.data()) == 0) {
    for (int core = 0; core < static_cast<int>(8 * sizeof(mask)); ++core) {
      if (CPU_ISSET_S(core, sizeof(mask), mask.data())) cores.push_back(core);
    }
  }
  if (cores.empty()) cores.push_back(0);
  return cores;
}

int usable_cores() {
  int cores = static_cast<int>(allowed_cores().size());
  if (auto quota = cpu_quota()) cores = std::min(cores, static_cast<int>(std::ceil(std::min(*quota, 1e6))));
  return std::max(cores, 1);
}

}  // namespace peri::launcher
