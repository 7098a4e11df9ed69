// A compute kernel of the host backend: compiled once per (spec, operand types), then run on any addresses of
// those types.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/error.hpp"
#include "core/ops/kernel.hpp"

namespace peri::kernels::host {

class Kernel {
 public:
  virtual ~Kernel() = default;
  // Addresses in operand order; nothing here can fail. Called by one thread at a time.
  virtual void run(std::span<std::byte* const> inputs, std::span<std::byte* const> outputs) const = 0;
};

// Compiled kernels are cached by (spec, types). Unsupported or inconsistent specs are errors, never crashes.
Result<std::shared_ptr<const Kernel>> compile_kernel(const KernelSpec& spec,
                                                     std::span<const OperandType> inputs,
                                                     std::span<const OperandType> outputs);

// How many threads kernels may use, the caller's included (from JobOptions::threads).
void set_thread_count(int threads);

}  // namespace peri::kernels::host
