// This rank's GPU: one stream for everything that is issued, a second one for what is set up beside it, and
// what may be freed only once the device has finished with it. Separate from the backend because tensors may
// outlive it. Also how CUDA's errors become ours, and the driver's functions, which are looked up at run time
// so that the plugin loads wherever a driver is.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/error.hpp"

namespace peri::kernels::cuda {

// "what: out of memory"; memory exhaustion is OutOfMemory, everything else IoError.
Status check(cudaError_t error, const std::string& what);
Status check(CUresult error, const std::string& what);

// What is used of the driver API: its virtual memory functions, attributes, and writes that a stream makes.
struct Driver {
  decltype(&cuMemGetAllocationGranularity) granularity = nullptr;
  decltype(&cuMemAddressReserve) reserve = nullptr;
  decltype(&cuMemAddressFree) free_address = nullptr;
  decltype(&cuMemCreate) create = nullptr;
  decltype(&cuMemRelease) release = nullptr;
  decltype(&cuMemMap) map = nullptr;
  decltype(&cuMemUnmap) unmap = nullptr;
  decltype(&cuMemSetAccess) set_access = nullptr;
  decltype(&cuMemExportToShareableHandle) export_handle = nullptr;
  decltype(&cuMemImportFromShareableHandle) import_handle = nullptr;
  decltype(&cuGetErrorString) error_string = nullptr;
  decltype(&cuDeviceGetAttribute) attribute = nullptr;
  decltype(&cuStreamWriteValue32) write_value = nullptr;
};
const Driver& driver();
// One more of its functions, in the form that it has since a version (12010: CUDA 12.1); nullptr if the
// driver has none.
void* driver_function(const char* name, unsigned version);

// Unsupported, with CUDA's reason, if this process can use no GPU.
Result<int> device_count();

class Device {
 public:
  // The ranks of a host take the GPUs that they see in turn: several share one if they are more.
  static Result<std::shared_ptr<Device>> open(int local_rank, bool may_spin);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  int index() const { return index_; }
  int multiprocessors() const { return multiprocessors_; }
  cudaStream_t stream() const { return stream_; }
  // For set-up while the first one may be capturing; whoever uses it waits for it.
  cudaStream_t side_stream() const { return side_stream_; }

  // Waits for the stream, then frees what was retired before.
  Status finish();
  // `free` is called once the stream has passed all that has been issued so far.
  void retire(std::function<void()> free);

 private:
  Device() = default;
  int index_ = 0;
  int multiprocessors_ = 0;
  cudaStream_t stream_ = nullptr, side_stream_ = nullptr;
  std::mutex mutex_;  // tensors are freed by whoever drops them last
  std::vector<std::function<void()>> retired_;
};

}  // namespace peri::kernels::cuda
