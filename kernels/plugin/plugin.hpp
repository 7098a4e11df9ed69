// The CUDA backend, which is a plugin: libperi_cuda.so beside the program, or in ../lib where it is
// installed. The program itself links nothing of CUDA, so that one build runs on machines with and without a
// GPU.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.hpp"

namespace peri::kernels {

// Unsupported if there is no plugin or no usable GPU; else as create_host_backend.
Result<std::unique_ptr<Backend>> create_cuda_backend(const JobOptions& options);
// How many GPUs there are, at least one, or why there is none. Starts the CUDA driver.
Result<int> count_gpus();

// What the backend finds on this machine, as rows of a name and a text, for people.
struct CudaReport {
  using Row = std::pair<std::string, std::string>;
  std::vector<Row> libraries, machine;
  std::vector<Row> paths;  // by number of ranks: what collectives go through
};
Result<CudaReport> describe_cuda();
// `backend` is "cuda", "host", or "auto": cuda where the plugin finds a GPU.
Result<std::unique_ptr<Backend>> create_backend(const std::string& backend, const JobOptions& options);

}  // namespace peri::kernels
