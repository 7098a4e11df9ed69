#include "kernels/cuda/memory/device.hpp"

#include <fmt/format.h>

#include <utility>

namespace peri::kernels::cuda {
namespace {

template <class Function>
void look_up(const char* name, Function& function) {
  constexpr unsigned kVersion = 12000;  // the functions' forms since CUDA 12.0
  function = reinterpret_cast<Function>(driver_function(name, kVersion));
}

Driver look_up_driver() {
  Driver d;
  look_up("cuMemGetAllocationGranularity", d.granularity);
  look_up("cuMemAddressReserve", d.reserve);
  look_up("cuMemAddressFree", d.free_address);
  look_up("cuMemCreate", d.create);
  look_up("cuMemRelease", d.release);
  look_up("cuMemMap", d.map);
  look_up("cuMemUnmap", d.unmap);
  look_up("cuMemSetAccess", d.set_access);
  look_up("cuMemExportToShareableHandle", d.export_handle);
  look_up("cuMemImportFromShareableHandle", d.import_handle);
  look_up("cuGetErrorString", d.error_string);
  look_up("cuDeviceGetAttribute", d.attribute);
  look_up("cuStreamWriteValue32", d.write_value);
  return d;
}

}  // namespace

void* driver_function(const char* name, unsigned version) {
  void* address = nullptr;
  cudaDriverEntryPointQueryResult found;
  const bool there =
      cudaGetDriverEntryPointByVersion(name, &address, version, cudaEnableDefault, &found) == cudaSuccess &&
      found == cudaDriverEntryPointSuccess;
  return there ? address : nullptr;
}

const Driver& driver() {
  static const Driver instance = look_up_driver();
  return instance;
}

Status check(cudaError_t error, const std::string& what) {
  if (error == cudaSuccess) return {};
  cudaGetLastError();  // what is told once is not told again by the next call
  return fail(error == cudaErrorMemoryAllocation ? Code::OutOfMemory : Code::IoError,
              fmt::format("{}: {}", what, cudaGetErrorString(error)));
}

Status check(CUresult error, const std::string& what) {
  if (error == CUDA_SUCCESS) return {};
  const char* text = nullptr;
  driver().error_string(error, &text);
  return fail(error == CUDA_ERROR_OUT_OF_MEMORY ? Code::OutOfMemory : Code::IoError,
              fmt::format("{}: {}", what, text ? text : "unknown error"));
}

Result<int> device_count() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  int version = 0;
  cudaDriverGetVersion(&version);
  const char* reason = version == 0           ? "NVIDIA's driver is not installed"
                       : error == cudaSuccess ? "none is visible"
                                              : cudaGetErrorString(error);
  return fail(Code::Unsupported, fmt::format("no usable GPU: {}", reason), {}, "use --backend host");
}

Result<std::shared_ptr<Device>> Device::open(int local_rank, bool may_spin) {
  const int count = PERI_TRY(device_count());
  std::shared_ptr<Device> device(new Device());
  device->index_ = local_rank % count;
  PERI_TRY(check(cudaSetDevice(device->index_), fmt::format("GPU {}", device->index_)));
  PERI_TRY(check(cudaSetDeviceFlags(may_spin ? cudaDeviceScheduleAuto : cudaDeviceScheduleBlockingSync),
                 "cudaSetDeviceFlags"));
  PERI_TRY(
      check(cudaDeviceGetAttribute(&device->multiprocessors_, cudaDevAttrMultiProcessorCount, device->index_),
            "the GPU's attributes"));
  if (!driver().create || !driver().export_handle)
    return fail(Code::Unsupported,
                fmt::format("GPU {} cannot share memory by file descriptors", device->index_), {},
                "use --backend host");
  PERI_TRY(check(cudaStreamCreateWithFlags(&device->stream_, cudaStreamNonBlocking), "a stream"));
  PERI_TRY(check(cudaStreamCreateWithFlags(&device->side_stream_, cudaStreamNonBlocking), "a stream"));
  return device;
}

Device::~Device() {
  static_cast<void>(finish());
  if (side_stream_) cudaStreamDestroy(side_stream_);
  if (stream_) cudaStreamDestroy(stream_);
}

Status Device::finish() {
  std::vector<std::function<void()>> retired;
  {
    std::lock_guard lock(mutex_);
    retired = std::exchange(retired_, {});
  }
  Status done = check(cudaStreamSynchronize(stream_), "waiting for the GPU");
  for (const auto& free : retired) free();
  return done;
}

void Device::retire(std::function<void()> free) {
  std::lock_guard lock(mutex_);
  retired_.push_back(std::move(free));
}

}  // namespace peri::kernels::cuda
