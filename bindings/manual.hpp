// The reference manual, made from the op table: what `peri help` and peri.help print.
#pragma once

#include <string>

#include "core/error.hpp"

namespace peri {

Result<std::string> manual(
    const std::string& name);  // one op, or "exit-codes"; unknown names are errors with the nearest
std::string manual_index();    // every op, a line each, by family

}  // namespace peri
