#include "kernels/os/machine.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>

namespace peri::kernels::os {
namespace {

// The file's first number, or the one after `key`; nothing for "max".
std::optional<int64_t> read_number(const std::string& path, std::string_view key = "") {
  std::ifstream file(path);
  std::string word;
  int64_t number = 0;
  while (!key.empty() && file >> word && word != key) continue;
  return file >> number ? std::optional(number) : std::nullopt;
}

// How a version of cgroups names its files, and the file pages that it would drop under pressure.
struct Files {
  const char *limit, *usage, *droppable;
};
constexpr Files kVersions[] = {{"/memory.max", "/memory.current", "inactive_file"},
                               {"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file"}};

int64_t headroom(const std::string& folder) {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const Files& files : kVersions) {
    const auto limit = read_number(folder + files.limit);
    if (!limit) continue;
    const int64_t usage = read_number(folder + files.usage).value_or(0);
    const int64_t droppable = read_number(folder + "/memory.stat", files.droppable).value_or(0);
    least = std::min(least, *limit - std::max<int64_t>(usage - droppable, 0));
  }
  return std::max<int64_t>(least, 0);
}

}  // namespace

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

Bytes available_memory() {
  int64_t available = std::numeric_limits<int64_t>::max();
  if (auto kib = read_number("/proc/meminfo", "MemAvailable:")) available = *kib * 1024;
  static const std::vector<std::string> folders = cgroup_folders("memory");  // asked for at every large block
  for (const std::string& folder : folders) available = std::min(available, headroom(folder));
  return Bytes(available);
}

}  // namespace peri::kernels::os
