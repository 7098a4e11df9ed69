// What `peri help` and peri.help print: the pages (pages.hpp), and pages made from the op table.
#pragma once

#include <string>
#include <vector>

#include "core/error.hpp"

namespace peri::manual {

// The page of a public name: an op, a function, a method, a field, a command, an option, an environment
// variable, or a subject. Unknown: an error with the nearest name.
Result<std::string> manual(const std::string& name);

// Every name that has a page or a place on one.
std::vector<std::string> known_names();

// What a page says of one of its arguments or fields: an option's description, for instance. The page has it.
const std::string& meaning_on_page(const std::string& page, const std::string& row);

}  // namespace peri::manual
