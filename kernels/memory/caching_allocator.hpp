// Ordinary memory behind a caching allocator, on every backend: which sizes blocks have, and which freed
// blocks are kept for the next of their size. A backend says where memory comes from, and when a freed block
// may be used again.
#pragma once

#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "kernels/tensor.hpp"

namespace peri::kernels {

// Held by shared_ptr because tensors of the script may outlive the backend.
class CachingAllocator : public std::enable_shared_from_this<CachingAllocator> {
 public:
  virtual ~CachingAllocator() = default;
  virtual Result<std::shared_ptr<Storage>> allocate(Bytes bytes, Place place);
  // The place of the block that holds `address`; host if it is nobody's.
  Place place_of(const std::byte* address) const;
  // Gives what is not in use back to the machine.
  virtual void free_cached();

 protected:
  static constexpr Bytes kLarge{64 << 20};
  struct Rules {
    Bytes min_block;
    // What blocks above kLarge are rounded up to.
    Bytes page;
    // Freed blocks that are kept: how large, and how much in all. The others go back at once.
    Bytes max_kept_block{std::numeric_limits<int64_t>::max()}, max_kept = max_kept_block;
    // Whether a block serves both places.
    bool is_one_place = false;
  };
  struct Block {
    Bytes bytes;
    Place place;
  };
  explicit CachingAllocator(const Rules& rules) : rules_(rules) {}
  // A freed block, which nobody uses.
  void keep(std::byte* data, Block block);

 private:
  friend class OrdinaryStorage;
  // OutOfMemory: it is asked again when what is kept has been freed.
  virtual Result<std::byte*> get(Block block) = 0;
  virtual void give_back(std::byte* data, Block block) = 0;
  // Calls `keep` when what has been issued so far no longer uses the block.
  virtual void retire(std::byte* data, Block block) { keep(data, block); }

  std::pair<Place, Bytes> kind_of(Block block) const {
    return {rules_.is_one_place ? Place::host : block.place, block.bytes};
  }
  Bytes size_class(Bytes bytes) const;
  std::byte* find_kept(Block block);
  void release(std::byte* data);

  Rules rules_;
  mutable std::mutex mutex_;
  std::map<const std::byte*, Block> live_;
  std::map<std::pair<Place, Bytes>, std::vector<std::byte*>> kept_;
  Bytes kept_bytes_;
};

}  // namespace peri::kernels
