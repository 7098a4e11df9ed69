// Numbers as people read them in messages.
#pragma once

#include <string>

#include "core/types/units.hpp"

namespace peri {

// For messages: "4096 bytes", "1.5 GiB".
std::string describe_bytes(Bytes bytes);
// For tables: "512 B", "64 KiB", "1.5 MiB".
std::string short_bytes(Bytes bytes);

}  // namespace peri
