// The one order in which every backend accumulates the running totals of a scan. A line is cut into blocks of
// kScanBlock elements, and a block into segments of kScanSegment. The total up to an element is
//   (the blocks before its own, ascending) + ((the segments before its own, ascending) + (its segment's
//   elements up to it, ascending)),
// in double for floats, rounded once. Host code and device code read this file.
#pragma once

#include <cstdint>

namespace peri::kernels {

inline constexpr int64_t kScanSegment = 32;
inline constexpr int64_t kScanBlock = 32 * kScanSegment;

}  // namespace peri::kernels
