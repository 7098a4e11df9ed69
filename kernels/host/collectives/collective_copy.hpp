// Copies between members' memory. Separate from memcpy because glibc 2.36 copies from 2 KiB on with `rep
// movsb`, which on Zen 4 is some twenty times slower than plain vector moves when source and target lie alike
// in their pages, as operands and staging buffers usually do (sourceware.org bug 30994).
#pragma once

#include <cstddef>
#include <cstdint>

namespace peri::kernels::host {

// They do not overlap.
void copy_bytes(std::byte* to, const std::byte* from, int64_t bytes);

}  // namespace peri::kernels::host
