// Source text to loaded device code, kept in memory by (device, text) and on disk.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "core/error.hpp"

namespace peri::kernels::cuda {

// Loaded code; unloaded with its last kernel.
class Module {
 public:
  static Result<std::shared_ptr<const Module>> load(const std::string& code);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // An extern "C" kernel, loaded completely, so that its first launch may be captured.
  Result<cudaKernel_t> kernel(const char* name) const;

 private:
  explicit Module(cudaLibrary_t library) : library_(library) {}
  cudaLibrary_t library_;
};

// For the current device. shared_ptr: kernels of different shapes share a text's code.
Result<std::shared_ptr<const Module>> compile_module(const std::string& text);

// Machine code of `text` for an architecture ("sm_90"), not cached: needs no device.
Result<std::string> compile_text(const std::string& text, const std::string& architecture);

}  // namespace peri::kernels::cuda
