// What this machine lets this process use, as the kernel and the process's cgroups say.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/types/units.hpp"

namespace peri::kernels::os {

// What may still be allocated: the machine's MemAvailable and, for every memory cgroup around this
// process, its limit less what is in use there (file pages that can be dropped do not count).
Bytes available_memory();

// The folders of this process's cgroup for a controller, innermost first; each may hold a limit. Both
// hierarchies are covered, and so is a container, where the path that /proc names may lie outside of what is
// mounted.
std::vector<std::string> cgroup_folders(const std::string& controller);

}  // namespace peri::kernels::os
