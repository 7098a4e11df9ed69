// Random bits of the operating system, for names that nobody can guess.
#pragma once

#include <cstdint>

#include "core/error.hpp"

namespace peri {

// IoError if the system gives none (a sandbox may forbid it).
Result<uint64_t> random_bits();

}  // namespace peri
