// Numbers as people read them in messages.
#pragma once

#include <string>

#include "core/types/units.hpp"

namespace peri {

// "1.5 GiB", "4096 bytes".
std::string describe_bytes(Bytes bytes);

}  // namespace peri
