// What this machine has for the CUDA backend, and which ways collectives would take: for `peri doctor`.
#pragma once

#include "kernels/plugin/plugin.hpp"

namespace peri::kernels::cuda {

Result<CudaReport> describe();

}  // namespace peri::kernels::cuda
