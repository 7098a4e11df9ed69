// What writes into peers' blocks are checked for, on every backend in the same words.
#include "kernels/symmetric_memory.hpp"

#include <fmt/format.h>

namespace peri::kernels {

Status SymmetricMemory::check_window(int member, int64_t offset, int64_t size, std::string_view op) const {
  if (member < 0 || member >= group().size())
    return fail(Code::InvalidArgument,
                fmt::format("{}: no member {} in group {}", op, member, group().to_string()));
  if (offset < 0 || size < 0 || offset > bytes() || size > bytes() - offset)
    return fail(Code::InvalidArgument,
                fmt::format("{}: {} bytes at {} do not lie in a block of {}", op, size, offset, bytes()));
  return {};
}

Status SymmetricMemory::copy(int member, int64_t offset, const std::byte* source, int64_t size) {
  PERI_TRY(check_window(member, offset, size, "copy"));
  return write(buffer(member) + offset, source, size);
}

Status SymmetricMemory::memset32(int member, int64_t offset, uint32_t value, int64_t count) {
  if (count < 0 || count > bytes() / 4 || offset % 4 != 0)
    return fail(Code::InvalidArgument,
                fmt::format("memset32: {} words at {} of a block of {} bytes", count, offset, bytes()));
  PERI_TRY(check_window(member, offset, count * 4, "memset32"));
  return fill(buffer(member) + offset, value, count);
}

}  // namespace peri::kernels
