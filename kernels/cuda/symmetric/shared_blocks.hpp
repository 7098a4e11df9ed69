// Blocks of GPU memory that ranks share: every member makes its own, passes it on as a file descriptor, and
// maps everybody's into one reserved range of addresses, in which they can grow without moving.
#pragma once

#include <memory>
#include <vector>

#include "core/types/group.hpp"
#include "kernels/cuda/memory/device.hpp"
#include "kernels/job/control.hpp"

namespace peri::kernels::cuda {

// One block of the same size on every member of a group, all mapped here.
class SharedBlocks {
 public:
  // Collective: the blocks hold zeros. `bytes` follows from the operation's text, which is compared.
  static Result<std::unique_ptr<SharedBlocks>> create(job::Control& control, std::shared_ptr<Device> device,
                                                      const Group& group, int64_t bytes,
                                                      const job::Operation& operation);
  // No memory yet, and addresses for `most` bytes of every member.
  static Result<std::unique_ptr<SharedBlocks>> reserve(std::shared_ptr<Device> device, int members,
                                                       int64_t most);
  // Made by `owner` alone and sent to `reader`, who takes part when it first needs it: member 0 is the
  // owner's.
  static Result<std::unique_ptr<SharedBlocks>> own(std::shared_ptr<Device> device, int64_t bytes);
  static Result<std::unique_ptr<SharedBlocks>> map_others(std::shared_ptr<Device> device, int64_t bytes,
                                                          const os::Fd& file);
  ~SharedBlocks();

  // Collective: `bytes` more, at least, at the end of all blocks; they hold zeros. OutOfMemory on all members
  // if one has no more, or if addresses do not suffice; then nothing has changed.
  Status grow(job::Control& control, const Group& group, int64_t bytes, const job::Operation& operation);

  // What the last growth has added to this rank's block.
  struct Growth {
    int64_t offset, bytes;
    CUmemGenericAllocationHandle memory;
  };
  Growth last_growth() const { return {chunks_.back().offset, chunks_.back().bytes, chunks_.back().own}; }

  std::byte* data(int member) const { return data_ + member * stride_; }
  int64_t bytes() const { return bytes_; }  // of each block
  // A descriptor of this rank's block, which has not grown.
  Result<os::Fd> share() const;

 private:
  // What is mapped at once: this rank's memory, and everybody's at the same offset of their blocks.
  struct Chunk {
    int64_t offset, bytes;
    CUmemGenericAllocationHandle own = 0;
    std::vector<int> mapped;  // members
  };
  SharedBlocks(std::shared_ptr<Device> device, int members) : device_(std::move(device)), members_(members) {}
  Status reserve_addresses(int64_t most);
  Chunk next_chunk(int64_t bytes) const;
  Status map_own(Chunk& chunk, int member);
  Status map_file(Chunk& chunk, int member, const os::Fd& file);
  Status map(Chunk& chunk, int member, CUmemGenericAllocationHandle handle);
  Status exchange_files(Chunk& chunk, job::Control& control, const Group& group,
                        const job::Operation& operation);
  void keep(Chunk chunk);
  void drop(const Chunk& chunk);

  std::shared_ptr<Device> device_;
  int members_;
  int64_t unit_ = 0, stride_ = 0, bytes_ = 0;
  std::byte* data_ = nullptr;
  std::vector<Chunk> chunks_;
};

// Memory of this process's GPU as a descriptor that another process maps.
Result<os::Fd> export_memory(CUmemGenericAllocationHandle memory);
Result<CUmemGenericAllocationHandle> import_memory(const os::Fd& file);

}  // namespace peri::kernels::cuda
