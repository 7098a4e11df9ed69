#include "bindings/launcher/machine.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace peri::launcher {
namespace {

std::optional<int64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value) return value;  // "max" is no number
  return std::nullopt;
}

// The folders of this process's cgroup for a controller, innermost first; each may hold a limit. Both
// hierarchies are covered, and so is a container, where the path that /proc names may lie outside of what is
// mounted.
std::vector<std::string> cgroup_folders(const std::string& controller) {
  std::vector<std::string> folders;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:memory:/path" in v1, "0::/path" in v2
    size_t first = line.find(':');
    size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string path = line.substr(second + 1);
    std::string root = "/sys/fs/cgroup";
    if (controllers != ",,") {
      if (controllers.find("," + controller + ",") == std::string::npos) continue;
      root += "/" + controller;
    }
    for (;; path.resize(path.rfind('/'))) {
      folders.push_back(root + (path == "/" ? "" : path));
      if (path.empty() || path.find('/') == std::string::npos) break;
    }
  }
  return folders;
}

std::optional<double> cpu_quota() {
  std::optional<double> least;
  auto consider = [&](double quota, double period) {
    if (quota > 0 && period > 0) least = std::min(least.value_or(quota / period), quota / period);
  };
  for (const std::string& folder : cgroup_folders("cpu")) {
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

int64_t available_memory() {
  int64_t available = std::numeric_limits<int64_t>::max();
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key;) {
    int64_t kib = 0;
    if (key == "MemAvailable:" && meminfo >> kib) available = kib * 1024;
  }
  for (const std::string& folder : cgroup_folders("memory")) {
    for (const char* name : {"/memory.max", "/memory.limit_in_bytes"}) {
      if (auto limit = read_number(folder + name)) available = std::min(available, *limit);
    }
  }
  return available;
}

}  // namespace peri::launcher
