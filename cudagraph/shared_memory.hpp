// Memory that all plans of a session share: their scratch and their comm buffers. Calls run one after another
// on one stream, and a plan needs none of this memory between its calls. So there is one block of each kind,
// as large as the plan that needs most of it, in which each plan has a layout of its own.
//
// A block is replaced by a larger one, or by a smaller one once those who needed most of it are gone. Plans
// see that by `version` at their next call, and bind their buffers to the new block.
//
// Symmetric memory is shared by the plans of one group. It is replaced only while all members prepare a plan
// that needs it, after they have compared what they have; so all members have the same block whenever they
// call a plan together. (If they have not, because one of them has failed on the way, the block's id in the
// signature of each collective tells.) A plan may overwrite what the plan before has left there, because no
// peer still reads it: check_plan refuses a plan whose call ends while peers may read a comm buffer.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "core/error.hpp"
#include "kernels/backend.hpp"

namespace peri::cudagraph {

class SharedMemory {
 private:
  struct Block;

 public:
  // Ordinary memory of a place, or symmetric memory of a group, which is not empty then.
  struct Kind {
    Place place;
    Group group;
    bool is_symmetric() const { return !group.ranks.empty(); }
    auto operator<=>(const Kind&) const = default;
  };
  // What one plan needs of a kind, as long as this lives.
  class Share {
   public:
    Share(Share&& other) noexcept;
    Share& operator=(Share&&) = delete;
    ~Share();
    // Changes with the block.
    uint64_t version() const;
    std::byte* data() const;
    const Kind& kind() const;

   private:
    friend class SharedMemory;
    Share(SharedMemory& memory, Block& block, Bytes bytes);

    // nullptr: moved from.
    SharedMemory* memory_;
    Block* block_;
    std::multiset<Bytes>::iterator need_;
  };

  // The backend outlives it, and it outlives its shares.
  explicit SharedMemory(kernels::Backend& backend) : backend_(backend) {}
  SharedMemory(const SharedMemory&) = delete;

  kernels::Backend& backend() const { return backend_; }
  // At least one byte. Collective over the group if the kind is symmetric: every member asks, for as much as
  // it likes. After an error all is as before.
  Result<Share> share(const Kind& kind, Bytes bytes);
  // Whether a block has been replaced since.
  uint64_t version() const { return version_; }
  // Makes blocks of ordinary memory that were released because they had become too large.
  Status ensure(const Share& share);

  // Of all blocks of ordinary memory, and of symmetric memory.
  Bytes ordinary_bytes() const { return bytes_of(false); }
  Bytes symmetric_bytes() const { return bytes_of(true); }

 private:
  struct Block {
    Kind kind;
    std::shared_ptr<kernels::Storage> storage;
    uint64_t version = 0;
    // Of each share.
    std::multiset<Bytes> needs;
    Bytes bytes() const { return storage ? storage->bytes() : Bytes(); }
    Bytes need() const { return *needs.rbegin(); }
  };

  Bytes bytes_of(bool symmetric) const;
  Status grow(Block& block);
  Status grow_together(Block& block);
  Status replace(Block& block, Bytes need, Bytes has);
  void release(Block& block, std::multiset<Bytes>::iterator need);

  kernels::Backend& backend_;
  std::map<Kind, Block> blocks_;
  uint64_t version_ = 0;
};

}  // namespace peri::cudagraph
