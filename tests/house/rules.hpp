// The house rules that a reader of one file can't see and a compiler doesn't check, as functions over source
// text; separate from the test that walks the repository so that each rule is also shown to fail on a sample.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace peri::house {

using Tree = std::map<std::string, std::string>;  // path from the repository's root -> text

struct Violation {
  std::string path;
  int line;  // 1-based; 0 when the whole file is meant
  std::string what;
};

// C++ text with comments and the contents of literals blanked; lines and columns stay where they were.
std::string blank_comments_and_literals(std::string_view text);

// Every breach in the tree, in path order.
std::vector<Violation> check(const Tree& tree);

}  // namespace peri::house
