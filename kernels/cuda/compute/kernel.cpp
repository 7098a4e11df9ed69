// From a spec to a kernel: picks the family, and keeps what was compiled; and the kernels made of generated
// launches.
#include "kernels/cuda/compute/kernel.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>

#include <fmt/format.h>

#include "kernels/compute/kernel_cache.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"
#include "kernels/cuda/memory/device.hpp"
#include "kernels/cuda/nvrtc/nvrtc.hpp"
#include "kernels/cuda/programmatic.hpp"

namespace peri::kernels::cuda {
namespace {

// Of one launch: all of its operands and the scratch. Far below CUDA's limit of 4 KB for parameters.
constexpr size_t kMaxAddresses = 128;

CompiledCudaKernel compile(const KernelCall& call) {
  if (call.spec.is_fused() && call.inputs.size() + call.outputs.size() >= kMaxAddresses)
    return fail(Code::Unsupported,
                fmt::format("{} has too many operands for a CUDA kernel", call.spec.name()));
  const Family family = PERI_TRY(family_of(call.spec));
  const KernelSpec spec = PERI_TRY(checked(call));
  const KernelCall complete{spec, call.inputs, call.outputs};
  switch (family) {
#define PERI_KERNEL_FAMILY(name, ...) \
  case Family::name:                  \
    return compile_##name(complete);
#define PERI_FAMILY(name, ...) \
  case Family::name:           \
    break;
#include "core/ops/families.def"
  }
  PERI_CHECK(false, "not a family of kernels");
}

struct Loaded {
  cudaKernel_t kernel;
  dim3 grid;
  dim3 block;
  size_t shared;
  Constants constants;
};

class GeneratedKernel final : public ProgrammaticKernel {
 public:
  std::shared_ptr<const Module> module;
  std::vector<Loaded> launches, unaligned;
  int64_t alignment;
  Scratch scratch;

  bool is_programmatic() const override { return !launches.empty(); }

 private:
  Status launch_at(cudaStream_t stream, std::span<std::byte* const> inputs,
                   std::span<std::byte* const> outputs, bool early) const override {
    std::array<std::byte*, kMaxAddresses> addresses;
    std::byte** end = std::ranges::copy(inputs, addresses.begin()).out;
    end = std::ranges::copy(outputs, end).out;
    *end = scratch.data();  // read if the kernels take it
    uintptr_t bits = 0;
    for (std::byte** at = addresses.begin(); at < end; ++at) bits |= reinterpret_cast<uintptr_t>(*at);
    const bool is_aligned = bits % static_cast<uintptr_t>(alignment) == 0;
    for (const Loaded& step : is_aligned ? launches : unaligned) {
      void* arguments[] = {addresses.data(), step.constants.data()};
      const cudaError_t error = launch_programmatic(reinterpret_cast<const void*>(step.kernel), step.grid,
                                                    step.block, arguments, step.shared, stream, early);
      if (error != cudaSuccess) [[unlikely]]
        return check(error, "launching a kernel");
      early = true;  // the others follow one of this kernel's
    }
    return {};
  }
};

constexpr int64_t kMaxBlocks = (int64_t(1) << 31) - 1;
constexpr int64_t kSharedWithoutAsking = 48 * 1024;

Result<std::vector<Loaded>> load(const Module& module, std::vector<Launch> launches) {
  std::vector<Loaded> result;
  for (Launch& launch : launches) {
    if (launch.grid == 0) continue;
    if (launch.grid > kMaxBlocks)
      return fail(Code::Unsupported, "a CUDA kernel cannot have so many elements");
    const cudaKernel_t kernel = PERI_TRY(module.kernel(launch.entry.c_str()));
    if (launch.shared > kSharedWithoutAsking)
      PERI_TRY(check(
          cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                               cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(launch.shared)),
          "giving a kernel its shared memory"));
    result.push_back({kernel, dim3(static_cast<unsigned>(launch.grid)),
                      dim3(static_cast<unsigned>(launch.block)), static_cast<size_t>(launch.shared),
                      std::move(launch.constants)});
  }
  return result;
}

}  // namespace

Result<Scratch> Scratch::allocate(int64_t bytes) {
  Scratch scratch;
  void* data = nullptr;
  PERI_TRY(check(cudaMalloc(&data, static_cast<size_t>(bytes)), "allocating a kernel's scratch memory"));
  scratch.data_ = static_cast<std::byte*>(data);
  return scratch;
}

Scratch::~Scratch() {
  if (data_) cudaFree(data_);
}

// Each kernel of a text begins with `begin`, so that it can be launched before the one before it has ended.
static std::string with_begin(const std::string& text) {
  constexpr std::string_view kKernel = "extern \"C\" __global__",
                             kBegin = "\n  peri::kernels::cuda::begin();";
  std::string result;
  size_t taken = 0;
  for (size_t at = text.find(kKernel); at != text.npos; at = text.find(kKernel, taken)) {
    const size_t body = text.find('{', at) + 1;  // there is no brace among the parameters
    result.append(text, taken, body - taken).append(kBegin);
    taken = body;
  }
  return result.append(text, taken);
}

CompiledCudaKernel make_kernel(Generated generated) {
  auto kernel = std::make_shared<GeneratedKernel>();
  bool is_empty = true;
  for (const auto* launches : {&generated.launches, &generated.unaligned})
    for (const Launch& launch : *launches) is_empty &= launch.grid == 0;
  kernel->alignment = generated.alignment;
  kernel->scratch = std::move(generated.scratch);
  if (is_empty) return kernel;
  kernel->module = PERI_TRY(compile_module(with_begin(generated.text)));
  kernel->launches = PERI_TRY(load(*kernel->module, std::move(generated.launches)));
  kernel->unaligned = PERI_TRY(load(*kernel->module, std::move(generated.unaligned)));
  return kernel;
}

int multiprocessors() {
  int device = 0, count = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

Result<std::shared_ptr<const Kernel>> compile_kernel(const KernelSpec& spec,
                                                     std::span<const OperandType> inputs,
                                                     std::span<const OperandType> outputs) {
  static std::mutex mutex;
  static std::map<int, KernelCache<Kernel>> caches;  // by device
  int device = 0;
  PERI_TRY(check(cudaGetDevice(&device), "naming the current device"));
  KernelCache<Kernel>* cache;
  {
    std::lock_guard lock(mutex);
    cache = &caches.try_emplace(device, [] { static_cast<void>(cudaDeviceSynchronize()); }).first->second;
  }
  return cache->find(spec, inputs, outputs, [&] { return compile({spec, inputs, outputs}); });
}

}  // namespace peri::kernels::cuda
