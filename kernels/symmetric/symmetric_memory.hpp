// Symmetric memory: one block of the same size on every member of a group, mapped by all of them, with signal
// pads. Both backends keep this contract; collectives are written against it. File descriptors travel over
// UNIX sockets, so nothing is named in /dev/shm or /tmp and nothing can leak when a rank is killed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/error.hpp"
#include "core/ops/kernel.hpp"
#include "core/types/group.hpp"

namespace peri::kernels {

class SymmetricMemory {
 public:
  virtual ~SymmetricMemory() = default;
  const Group& group() const { return group_; }
  // Of each block.
  Bytes bytes() const { return bytes_; }
  // This rank's position in the group.
  int index() const { return index_; }
  // Which of the group's allocations this is: the same on all members.
  uint64_t id() const { return id_; }
  // The member's block, mapped here.
  virtual std::byte* buffer(int member) const = 0;
  // Whether the multimem algorithms may use it (the host emulates them).
  virtual bool has_multicast() const = 0;

  // All wait until the deadline or an abort. `op` names the operation in errors; `origin` is its line.
  virtual Status barrier(std::string_view op) = 0;
  // Waits while the last signal is unconsumed.
  virtual Status put_signal(int member, int channel, std::string_view op, const Origin& origin) = 0;
  // Consumes one signal from the member.
  virtual Status wait_signal(int member, int channel, std::string_view op, const Origin& origin) = 0;
  // Into member's block, from ordinary memory; visible to it after a later signal or barrier.
  // InvalidArgument for what does not lie in the block.
  Status copy(int member, Bytes offset, const std::byte* source, Bytes bytes);
  Status memset32(int member, Bytes offset, uint32_t value, int64_t count);
  Status write_value32(int member, Bytes offset, uint32_t value) {
    return memset32(member, offset, value, 1);
  }

 protected:
  SymmetricMemory(const Group& group, int index, Bytes bytes, uint64_t id)
      : group_(group), index_(index), bytes_(bytes), id_(id) {}

 private:
  virtual Status write(std::byte* to, const std::byte* source, Bytes bytes) = 0;
  virtual Status fill(std::byte* to, uint32_t value, int64_t count) = 0;
  Status check_window(int member, Bytes offset, Bytes bytes, std::string_view op) const;

  Group group_;  // a copy: the storage may outlive the backend and its contexts
  int index_;
  Bytes bytes_;
  uint64_t id_;
};

}  // namespace peri::kernels
