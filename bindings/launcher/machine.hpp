// What of this machine the process may use: cores (affinity and cgroup quota) and memory (free, and cgroup
// limit).
#pragma once

#include <cstdint>
#include <vector>

namespace peri::launcher {

// The cores this process may run on, ascending, by its affinity mask; at least one.
std::vector<int> allowed_cores();

// How many cores' worth of time it gets: the allowed cores, less where a cgroup has a smaller CPU quota; at
// least 1.
int usable_cores();

// Bytes that can still be had without swapping: MemAvailable, or the cgroup's limit where that is smaller.
int64_t available_memory();

}  // namespace peri::launcher
