// The reference manual, made from the op table, and two pages beside it: what `peri help` and peri.help
// print.
#pragma once

#include <string>

#include "core/error.hpp"

namespace peri::commands {

Result<std::string> manual(
    const std::string& name);  // one op, "exit-codes" or "environment"; unknown: an error with the nearest
std::string manual_index();    // every op, a line each, by family

}  // namespace peri::commands
