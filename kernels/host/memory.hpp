// Ordinary memory of the host behind a caching allocator, which refuses before the machine runs out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/error.hpp"
#include "kernels/job/memory_ledger.hpp"
#include "kernels/tensor.hpp"

namespace peri::kernels::host {

// Ordinary memory, 64-byte aligned. Freed blocks wait in lists by size class for the next of their size;
// those past a cap go back at once. Held by shared_ptr because tensors of the script may outlive the backend.
class Allocator : public std::enable_shared_from_this<Allocator> {
 public:
  explicit Allocator(std::shared_ptr<job::MemoryLedger> ledger) : ledger_(std::move(ledger)) {}
  ~Allocator();
  Result<std::shared_ptr<Storage>> allocate(Bytes bytes, Place place);
  // The place of the block that holds `address`; host if it is nobody's.
  Place place_of(const std::byte* address) const;

 private:
  friend class OrdinaryStorage;
  struct Block {
    Bytes bytes;
    Place place;
  };
  Result<std::byte*> allocate_block(Bytes bytes, Place place);
  void release(std::byte* data);
  void free_block(std::byte* data, Bytes bytes);
  void free_cached();

  mutable std::mutex mutex_;
  std::shared_ptr<job::MemoryLedger> ledger_;  // in the job's control block, which stays mapped as long
  std::map<const std::byte*, Block> live_;
  std::map<Bytes, std::vector<std::byte*>> free_;  // by size class
  Bytes cached_;                                   // in free_
};

}  // namespace peri::kernels::host
