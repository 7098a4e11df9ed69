// Programmatic dependent launch: a kernel is launched while the one before it in the stream is still running,
// so that its start costs no time. It must wait for that one's end itself (griddepcontrol.wait) before it
// reads what kernels write, and before it writes. Plain C++20, for .cu files too.
#pragma once

#include <cuda_runtime_api.h>

namespace peri::kernels::cuda {

inline cudaLaunchAttribute begins_early() {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  return attribute;
}

inline cudaError_t launch_programmatic(const void* kernel, dim3 grid, dim3 block, void** arguments,
                                       size_t shared, cudaStream_t stream, bool early) {
  cudaLaunchAttribute attribute = begins_early();
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = early ? 1 : 0;
  return cudaLaunchKernelExC(&config, kernel, arguments);
}

}  // namespace peri::kernels::cuda
