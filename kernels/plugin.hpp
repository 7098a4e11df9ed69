// The CUDA backend, which is a plugin: libperi_cuda.so beside the program, or in ../lib where it is
// installed. The program itself links nothing of CUDA, so that one build runs on machines with and without a
// GPU.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.hpp"

namespace peri {

// Unsupported if there is no plugin or no usable GPU; else as create_host_backend.
Result<std::unique_ptr<Backend>> create_cuda_backend(const JobOptions& options);
// One line for the versions and one for each GPU, or why there is none. Starts the CUDA driver.
Result<std::vector<std::string>> describe_cuda();
// `backend` is "cuda", "host", or "auto": cuda where the plugin finds a GPU.
Result<std::unique_ptr<Backend>> create_backend(const std::string& backend, const JobOptions& options);

}  // namespace peri
