#include "kernels/symmetric/symmetric_blocks.hpp"

#include <algorithm>

namespace peri::kernels {

SymmetricMemory* SymmetricBlocks::find(const std::byte* address) const {
  std::lock_guard lock(mutex_);
  auto after = blocks_.upper_bound(address);
  if (after == blocks_.begin()) return nullptr;
  const auto& [begin, memory] = *std::prev(after);
  return address < begin + std::max(memory->bytes(), Bytes(1)) ? memory : nullptr;
}

void SymmetricBlocks::insert(SymmetricMemory& memory) {
  std::lock_guard lock(mutex_);
  blocks_[memory.buffer(memory.index())] = &memory;
}

void SymmetricBlocks::erase(const SymmetricMemory& memory) {
  std::lock_guard lock(mutex_);
  blocks_.erase(memory.buffer(memory.index()));
}

}  // namespace peri::kernels
