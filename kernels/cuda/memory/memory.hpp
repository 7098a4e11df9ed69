// Ordinary memory of both places: the GPU's, and pinned memory of the host that the GPU reads too. Freed
// blocks are kept for the next of their size: on the device at once, as everything runs in one stream; on the
// host, where the CPU writes without asking the stream, only after the device has finished with them.
#pragma once

#include <memory>

#include "kernels/cuda/memory/device.hpp"
#include "kernels/memory/caching_allocator.hpp"

namespace peri::kernels::cuda {

// To free what is cached it waits for the device.
std::shared_ptr<CachingAllocator> make_allocator(std::shared_ptr<Device> device);

}  // namespace peri::kernels::cuda
