#include "tests/kernels/cuda/free_memory.hpp"

#include <cuda_runtime_api.h>

#include <cstddef>

namespace peri::test {

int64_t free_memory_of_gpu(int rank) {
  int devices = 1;
  size_t left = 0, total = 0;
  cudaGetDeviceCount(&devices);
  cudaSetDevice(rank % devices);
  cudaMemGetInfo(&left, &total);
  return static_cast<int64_t>(left);
}

}  // namespace peri::test
