// What writes into peers' blocks are checked for, on every backend in the same words.
#include "kernels/symmetric/symmetric_memory.hpp"

#include <fmt/format.h>

namespace peri::kernels {

Status SymmetricMemory::check_window(int member, Bytes offset, Bytes size, std::string_view op) const {
  if (member < 0 || member >= group().size())
    return fail(Code::InvalidArgument,
                fmt::format("{}: no member {} in group {}", op, member, group().to_string()));
  if (offset < Bytes() || size < Bytes() || offset > bytes() || size > bytes() - offset)
    return fail(Code::InvalidArgument, fmt::format("{}: {} bytes at {} do not lie in a block of {}", op,
                                                   size.count(), offset.count(), bytes().count()));
  return {};
}

Status SymmetricMemory::copy(int member, Bytes offset, const std::byte* source, Bytes size) {
  PERI_TRY(check_window(member, offset, size, "copy"));
  return write(buffer(member) + offset, source, size);
}

Status SymmetricMemory::memset32(int member, Bytes offset, uint32_t value, int64_t count) {
  if (count < 0 || count > bytes() / Bytes(4) || offset % Bytes(4) != Bytes())
    return fail(Code::InvalidArgument, fmt::format("memset32: {} words at {} of a block of {} bytes", count,
                                                   offset.count(), bytes().count()));
  PERI_TRY(check_window(member, offset, Bytes(4) * count, "memset32"));
  return fill(buffer(member) + offset, value, count);
}

}  // namespace peri::kernels
