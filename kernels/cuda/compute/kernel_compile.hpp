// The compilers of the kernel families, and what they share: a kernel made of generated launches. They get
// calls that are checked.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/compute/call.hpp"
#include "kernels/cuda/compute/kernel.hpp"
#include "kernels/cuda/nvrtc/source.hpp"

namespace peri::kernels::cuda {

using CompiledCudaKernel = Result<std::shared_ptr<const Kernel>>;

// Plain device memory that belongs to a kernel.
class Scratch {
 public:
  Scratch() = default;
  static Result<Scratch> allocate(int64_t bytes);
  ~Scratch();
  Scratch(Scratch&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Scratch& operator=(Scratch&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
};

// One launch of a kernel of a text. A grid of 0 launches nothing.
struct Launch {
  std::string entry;
  int64_t grid;
  int block;
  Constants constants;
  int64_t shared = 0;  // dynamic shared memory, bytes
};

// A text and its launches, one after the other. Each gets AddressArray<inputs + outputs (+ 1)>: the call's
// inputs, its outputs, and the scratch if there is one; and its constants.
struct Generated {
  std::string text;
  std::vector<Launch> launches;
  // What the addresses must be multiples of for `launches`; where they are not, `unaligned` runs instead.
  int64_t alignment = 1;
  std::vector<Launch> unaligned;
  Scratch scratch;
};
CompiledCudaKernel make_kernel(Generated generated);

// The grid that gives each of `count` items a thread, at least one per `per_block`.
constexpr int64_t blocks_for(int64_t count, int64_t per_block) {
  return (count + per_block - 1) / per_block;
}
// How many multiprocessors the current device has.
int multiprocessors();

// Copies elements of `bytes` from one layout to another.
CompiledCudaKernel make_copy(const Shape& shape, const Strides& in, const Strides& out, int64_t bytes);

// How many elements of `bytes` one access of up to 16 bytes takes: those that lie side by side along the
// innermost dimension of `operands` of the space, while each of their other strides and each of `steps` is a
// multiple of that number.
int64_t elements_per_unit(const Space& space, std::span<const int> operands, int64_t bytes,
                          std::span<const int64_t> steps = {});
// The space with `operands` in units of that many elements.
Space in_units(Space space, std::span<const int> operands, int64_t elements);

#define PERI_KERNEL_FAMILY(name, ...) CompiledCudaKernel compile_##name(const KernelCall& call);
#include "core/ops/families.def"

}  // namespace peri::kernels::cuda
