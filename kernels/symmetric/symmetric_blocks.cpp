#include "kernels/symmetric/symmetric_blocks.hpp"

#include <algorithm>

namespace peri::kernels {
namespace {

class SymmetricStorage final : public Storage {
 public:
  SymmetricStorage(std::unique_ptr<SymmetricMemory> memory, std::shared_ptr<SymmetricBlocks> blocks)
      : Storage(memory->buffer(memory->index()), memory->bytes(), Place::device,
                SymmetricAllocator{memory->group()}),
        memory_(std::move(memory)),
        blocks_(std::move(blocks)) {
    blocks_->insert(*memory_);
  }
  ~SymmetricStorage() override { blocks_->erase(*memory_); }

 private:
  std::unique_ptr<SymmetricMemory> memory_;
  std::shared_ptr<SymmetricBlocks> blocks_;
};

}  // namespace

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

std::shared_ptr<Storage> symmetric_storage(std::unique_ptr<SymmetricMemory> memory,
                                           std::shared_ptr<SymmetricBlocks> blocks) {
  return std::make_shared<SymmetricStorage>(std::move(memory), std::move(blocks));
}

}  // namespace peri::kernels
