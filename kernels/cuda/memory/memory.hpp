// Ordinary memory of both places: the GPU's, and pinned memory of the host that the GPU reads too. Freed
// blocks wait in lists by size for the next of their size: on the device at once, as everything runs in one
// stream; on the host, where the CPU writes without asking the stream, only after the device has finished
// with them.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/cuda/memory/device.hpp"
#include "kernels/tensor.hpp"

namespace peri::kernels::cuda {

// Held by shared_ptr because tensors of the script may outlive the backend.
class Allocator : public std::enable_shared_from_this<Allocator> {
 public:
  explicit Allocator(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  ~Allocator();
  Result<std::shared_ptr<Storage>> allocate(Bytes bytes, Place place);
  // The place of the block that holds `address`; host if it is nobody's.
  Place place_of(const std::byte* address) const;
  // Gives what is not in use back to the machine. Waits for the device.
  void free_cached();

 private:
  friend class OrdinaryStorage;
  struct Block {
    Bytes bytes;
    Place place;
  };
  bool has_many_waiting() const;
  Result<std::byte*> fresh(Bytes bytes, Place place);
  void release(std::byte* data);
  void keep(std::byte* data, Block block);

  std::shared_ptr<Device> device_;
  mutable std::mutex mutex_;
  std::map<const std::byte*, Block> live_;
  std::map<std::pair<Place, Bytes>, std::vector<std::byte*>> free_;
  Bytes waiting_;  // of the host's memory: freed, and the device may still use it
};

}  // namespace peri::kernels::cuda
