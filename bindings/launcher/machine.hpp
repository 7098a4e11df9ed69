// Which cores of this machine the process may use, by its affinity and its cgroups' quota.
#pragma once

#include <vector>

namespace peri::launcher {

// The cores this process may run on, ascending, by its affinity mask; at least one.
std::vector<int> allowed_cores();

// How many cores' worth of time it gets: the allowed cores, less where a cgroup has a smaller CPU quota; at
// least 1.
int usable_cores();

}  // namespace peri::launcher
