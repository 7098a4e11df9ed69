// The pages of the manual as data, from which `peri help` and the editor stubs are made. The texts are the
// files *.txt of this folder, which CMake joins and pages.cpp embeds:
//
//   === TITLE            a chapter
//   == NAME [NAME ...]   a page, and other names that lead to it. A page named like an op adds to the op's
//   page. = FORM               what the page describes: a function, "peri.zeros(shape, options) ->
//   peri.Tensor"; a value,
//                        "peri.rank: integer"; a table with the fields below, "class peri.Policy"; or a
//                        command, "command peri doctor"
//   text                 what it is, up to the next empty line: one or two sentences
//   @ NAME  TYPE  DEFAULT  MEANING
//                        an argument or field, with at least two spaces between the columns. Default "-": it
//                        is required; "nil": it may be absent. An argument "options.dtype" is the field dtype
//                        of a table. An argument of an op has the columns NAME, MEANING or NAME, DEFAULT,
//                        MEANING.
//   @    text            more of the meaning
//   text                 the rest of the page. A line "%WORD" stands for a list that manual.cpp makes.
//
// Examples are indented, below a line "Example:" (or "Example, 2 ranks:"), and what they print below
// "prints:". tests/e2e/program/manual.lua runs them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace peri::manual {

struct Row {
  std::string name, type, fallback, meaning;
  bool is_optional() const { return fallback != "-"; }
};

// "peri.chunk(x, n, dim) -> peri.Tensor[]": owner "peri", name "chunk".
struct Form {
  enum class Kind : uint8_t { function, value, table, command };
  Kind kind = Kind::value;
  // Without the kind before it and the type behind it.
  std::string text;
  std::string owner, name;
  std::vector<std::string> parameters;
  // Of the result or of the value; may be empty.
  std::string type;
};

struct Page {
  std::string chapter;
  // The page's own name first.
  std::vector<std::string> names;
  std::vector<Form> forms;
  std::string summary;
  std::vector<Row> rows;
  std::string text;

  const std::string& name() const { return names.front(); }
};

// In the order of the text.
std::vector<Page> parse_pages(const std::string& text);

// The manual's.
const std::vector<Page>& pages();
const Page* find_page(const std::string& name);

}  // namespace peri::manual
