// Numbers as people read them in messages.
#pragma once

#include <cstdint>
#include <string>

namespace peri {

// "1.5 GiB", "4096 bytes".
std::string describe_bytes(int64_t bytes);

}  // namespace peri
