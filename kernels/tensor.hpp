// A tensor at run time: a window of a typed shape on shared storage.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/ops/kernel.hpp"
#include "core/types/group.hpp"
#include "core/types/layout.hpp"
#include "core/types/shape.hpp"

namespace peri::kernels {

// A block of memory of one place. Shared (std::shared_ptr) because views, Lua handles and executables hold
// the same block and the last of them, whichever it is, frees it.
class Storage {
 public:
  virtual ~Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  Bytes bytes() const { return bytes_; }
  Place place() const { return place_; }
  const Allocator& allocator() const { return allocator_; }  // default, or symmetric memory of a group
  bool is_symmetric() const { return std::holds_alternative<SymmetricAllocator>(allocator_); }
  // Exchanges the memory of two ordinary blocks of equal size: how an executable keeps its fixed address when
  // the tensor it returned is still held (the holder's block gets the copy).
  void exchange_memory(Storage& other) {
    std::swap(data_, other.data_);
    std::swap(recurring_, other.recurring_);
  }
  // Whether an executable returns tensors in this memory again and again. What records addresses may then
  // expect to meet it again.
  bool is_recurring() const { return recurring_; }
  void set_recurring() { recurring_ = true; }

 protected:
  Storage(std::byte* data, Bytes bytes, Place place, Allocator allocator)
      : data_(data), bytes_(bytes), place_(place), allocator_(std::move(allocator)) {}
  std::byte* data_;
  Bytes bytes_;
  Place place_;
  Allocator allocator_;

 private:
  bool recurring_ = false;
};

struct Tensor {
  std::shared_ptr<Storage> storage;
  TensorType type;
  View view;  // from the storage's start; view.shape == type.shape
  std::byte* data() const { return storage->data() + bytes_of(view.offset, type.dtype); }
};

// What a launch takes: an address and how to walk it. `type.view.offset` is already applied to `data` and is
// 0.
struct Operand {
  std::byte* data = nullptr;
  OperandType type;
  // In a step: which of the blocks that its recording follows holds it, and where in the block
  // (Recording::move). -1: it stays where it is.
  int block = -1;
  Bytes block_offset{};
};
inline Operand operand_of(const Tensor& t) {
  return {t.data(), {t.type.dtype, {t.view.shape, t.view.strides, {}}}};
}
inline std::vector<OperandType> types_of(std::span<const Operand> operands) {
  std::vector<OperandType> types;
  for (const Operand& operand : operands) types.push_back(operand.type);
  return types;
}
inline std::vector<std::byte*> addresses_of(std::span<const Operand> operands) {
  std::vector<std::byte*> addresses;
  for (const Operand& operand : operands) addresses.push_back(operand.data);
  return addresses;
}

}  // namespace peri::kernels
