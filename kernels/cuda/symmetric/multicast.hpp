// NVLink multicast of a group's symmetric memory: addresses through which the switch stores to, or loads and
// reduces, the same place of all members' blocks. Off by default, and apart from everything else, because a
// program that uses it on a machine that is not set up for it can put GPUs out of service that others share:
// whoever sets PERI_MULTICAST says that the machine is theirs. tests/house keeps every call that
// concerns multicast objects in multicast.cpp, and the one that creates them behind `check_multicast`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/symmetric/shared_blocks.hpp"

namespace peri::kernels::cuda {

// The gate: Unsupported, saying why, unless the user asks for multicast, no environment variable forbids it
// (core/env) and the GPU has it.
Status check_multicast(int gpu);

// The multicast side of one group's pool: a multicast object for each of its growths, all mapped into one
// range of addresses at the offsets of the blocks. The members agree after every step, so either all of them
// have it or none has; once it has failed nobody tries again, and what was bound before stays.
class Multicast {
 public:
  // `refusal`: why the group must do without it, the same on all members; empty if it may try.
  // `most`: bytes of each member's block, at most.
  Multicast(std::shared_ptr<Device> device, Group group, int64_t most, std::string refusal)
      : device_(std::move(device)), group_(std::move(group)), most_(most), refusal_(std::move(refusal)) {}
  ~Multicast();
  Multicast(const Multicast&) = delete;
  Multicast& operator=(const Multicast&) = delete;

  // Collective, after every growth of the blocks. An error means that the members could not agree; what the
  // driver refuses is no error, but a refusal.
  Status extend(job::Control& control, const SharedBlocks::Growth& growth, const job::Operation& operation);

  // Where all members' blocks lie from an offset on; nullptr where they have no multicast address.
  std::byte* address(int64_t offset, int64_t bytes) const {
    return bytes <= covered_ - offset ? data_ + offset : nullptr;
  }
  const std::string& refusal() const { return refusal_; }

 private:
  // One growth's object, as far as it has come.
  struct Object {
    int64_t offset, bytes;
    CUmemGenericAllocationHandle handle = 0;
    bool bound = false, mapped = false;
  };
  Status check_sizes(const SharedBlocks::Growth& growth);
  Result<std::string> try_extend(job::Control& control, const SharedBlocks::Growth& growth, Object& object,
                                 const job::Operation& operation);
  Status bind_and_map(Object& object, CUmemGenericAllocationHandle memory);
  static void drop(int gpu, std::byte* data, const Object& object);

  std::shared_ptr<Device> device_;
  Group group_;
  int64_t most_;
  std::string refusal_;
  int64_t recommended_ = 0;    // granularity of an object
  int64_t reserved_ = 0;       // bytes of addresses
  std::byte* data_ = nullptr;  // of the addresses, once they are reserved
  int64_t covered_ = 0;        // bytes from the blocks' beginning on that have multicast addresses
  std::vector<Object> objects_;
};

}  // namespace peri::kernels::cuda
