// What tests that use no CUDA themselves ask about the device.
#pragma once

#include <cstdint>

namespace peri::test {

// Bytes that are free on the GPU that this rank uses.
int64_t free_memory_of_gpu(int rank);

}  // namespace peri::test
