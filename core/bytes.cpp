#include "core/bytes.hpp"

#include <fmt/format.h>

namespace peri {

std::string describe_bytes(Bytes bytes) {
  if (bytes < Bytes(1 << 20)) return fmt::format("{} bytes", bytes.count());
  if (bytes < Bytes(1 << 30))
    return fmt::format("{:.1f} MiB", static_cast<double>(bytes.count()) / (1 << 20));
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes.count()) / (1 << 30));
}

}  // namespace peri
