// A compute kernel of the CUDA backend: compiled once per (spec, operand types) for the current device, then
// launched on any addresses of those types. compile_kernel may allocate, compile and time; launch only
// enqueues, so it may be captured. Links cublasLt, nvrtc and cudart; kernels are loaded by
// cudaLibraryLoadData.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <span>

#include "core/error.hpp"
#include "core/ops/kernel.hpp"

namespace peri::kernels::cuda {

class Kernel {
 public:
  virtual ~Kernel() = default;
  // Addresses in operand order. Enqueues on `stream` and returns; fails only with what CUDA says of a launch.
  // Launches of one kernel follow each other (as on one stream): some have scratch memory of their own.
  virtual Status launch(cudaStream_t stream, std::span<std::byte* const> inputs,
                        std::span<std::byte* const> outputs) const = 0;
  // Programmatic dependent launch: whether `launch_early` is there, which may begin while the kernel before
  // it is still running, if that lets it. Its kernels wait for that one's end by themselves, and let the next
  // kernel begin.
  virtual bool is_programmatic() const { return false; }
  // The input that `launch_early` reads before it waits; -1: none. Nothing is written before.
  virtual int early_operand() const { return -1; }
  virtual Status launch_early(cudaStream_t stream, std::span<std::byte* const> inputs,
                              std::span<std::byte* const> outputs) const {
    return launch(stream, inputs, outputs);
  }
};

// One whose launch differs only in when it may begin.
class ProgrammaticKernel : public Kernel {
 public:
  bool is_programmatic() const override { return true; }
  Status launch(cudaStream_t stream, std::span<std::byte* const> inputs,
                std::span<std::byte* const> outputs) const final {
    return launch_at(stream, inputs, outputs, false);
  }
  Status launch_early(cudaStream_t stream, std::span<std::byte* const> inputs,
                      std::span<std::byte* const> outputs) const final {
    return launch_at(stream, inputs, outputs, true);
  }

 private:
  virtual Status launch_at(cudaStream_t stream, std::span<std::byte* const> inputs,
                           std::span<std::byte* const> outputs, bool early) const = 0;
};

// Compiled kernels are cached by (device, spec, types). Unsupported or inconsistent specs are errors, never
// crashes. Not to be called while the calling thread captures a stream.
Result<std::shared_ptr<const Kernel>> compile_kernel(const KernelSpec& spec,
                                                     std::span<const OperandType> inputs,
                                                     std::span<const OperandType> outputs);

}  // namespace peri::kernels::cuda
