#include "core/bytes.hpp"

#include <fmt/format.h>

namespace peri {

std::string describe_bytes(Bytes bytes) {
  if (bytes < Bytes(1 << 20)) return fmt::format("{} bytes", bytes.count());
  if (bytes < Bytes(1 << 30))
    return fmt::format("{:.1f} MiB", static_cast<double>(bytes.count()) / (1 << 20));
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes.count()) / (1 << 30));
}

std::string short_bytes(Bytes bytes) {
  constexpr Bytes kKiB(1 << 10), kMiB(1 << 20);
  if (bytes < kKiB) return fmt::format("{} B", bytes.count());
  const Bytes unit = bytes < kMiB ? kKiB : kMiB;
  const char* name = bytes < kMiB ? "KiB" : "MiB";
  if (bytes % unit == Bytes()) return fmt::format("{} {}", bytes / unit, name);
  return fmt::format("{:.1f} {}", static_cast<double>(bytes.count()) / static_cast<double>(unit.count()),
                     name);
}

}  // namespace peri
