// Which symmetric memory of this rank an address lies in, and its storage, on every backend.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "kernels/symmetric/symmetric_memory.hpp"
#include "kernels/tensor.hpp"

namespace peri::kernels {

// The live allocations of a rank by address. Held by shared_ptr because storages, which may outlive the
// backend, take themselves out of it.
class SymmetricBlocks {
 public:
  // The allocation whose block of this rank holds `address`, or nullptr.
  SymmetricMemory* find(const std::byte* address) const;
  void insert(SymmetricMemory& memory);
  void erase(const SymmetricMemory& memory);

 private:
  mutable std::mutex mutex_;
  std::map<const std::byte*, SymmetricMemory*> blocks_;
};

// Owns the memory, which is found in `blocks` as long.
std::shared_ptr<Storage> symmetric_storage(std::unique_ptr<SymmetricMemory> memory,
                                           std::shared_ptr<SymmetricBlocks> blocks);

}  // namespace peri::kernels
