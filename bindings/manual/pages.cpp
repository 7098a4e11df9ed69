// See pages.hpp.
#include "bindings/manual/pages.hpp"

#include <algorithm>
#include <sstream>
#include <string_view>
#include <utility>

#include "core/embed.hpp"
#include "core/error.hpp"

PERI_EMBED(manual, "manual.txt")

namespace peri::manual {
namespace {

std::string trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(' ');
  if (first == text.npos) return "";
  return std::string(text.substr(first, text.find_last_not_of(' ') + 1 - first));
}

std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (const std::string part = trimmed(text.substr(0, end)); !part.empty()) parts.push_back(part);
    text.remove_prefix(std::min(text.size(), end + separator.size()));
  }
  return parts;
}

Form parse_form(const std::string& text) {
  Form form;
  form.text = text;
  for (const auto& [word, kind] :
       {std::pair{"class ", Form::Kind::table}, {"command ", Form::Kind::command}}) {
    if (!text.starts_with(word)) continue;
    form.kind = kind;
    form.text = form.name = text.substr(text.find(' ') + 1);
    return form;
  }
  const std::string_view separator = text.find(" -> ") != text.npos ? " -> " : ": ";
  if (const size_t at = text.find(separator); at != text.npos) {
    form.type = text.substr(at + separator.size());
    form.text = text.substr(0, at);
  }
  const size_t open = form.text.find('(');
  const std::string path = form.text.substr(0, open);
  const size_t dot = path.find_last_of(".:");
  form.name = path.substr(dot == path.npos ? 0 : dot + 1);
  if (dot != path.npos) form.owner = path.substr(0, dot);
  if (open == form.text.npos) return form;
  form.kind = Form::Kind::function;
  form.parameters = split(std::string_view(form.text).substr(open + 1, form.text.rfind(')') - open - 1), ",");
  return form;
}

Row parse_row(const std::string& line) {
  const std::vector<std::string> columns = split(line, "  ");
  PERI_CHECK(columns.size() >= 2 && columns.size() <= 4, "a row of the manual has two to four columns");
  if (columns.size() == 2) return {columns[0], "", "", columns[1]};
  if (columns.size() == 3) return {columns[0], "", columns[1], columns[2]};
  return {columns[0], columns[1], columns[2], columns[3]};
}

// Adds a line to the page: to its head until the first empty line, then to its text.
void add_line(Page& page, const std::string& line, bool& in_text) {
  if (in_text) {
    page.text += line + "\n";
  } else if (line.starts_with("@  ")) {
    PERI_CHECK(!page.rows.empty(), "a line of the manual continues no row");
    page.rows.back().meaning += " " + trimmed(line.substr(1));
  } else if (line.starts_with("@ ")) {
    page.rows.push_back(parse_row(line.substr(2)));
  } else if (line.starts_with("= ")) {
    page.forms.push_back(parse_form(line.substr(2)));
  } else if (line.empty()) {
    in_text = true;
  } else {
    page.summary += (page.summary.empty() ? "" : " ") + line;
  }
}

}  // namespace

std::vector<Page> parse_pages(const std::string& text) {
  std::vector<Page> pages;
  std::string chapter;
  bool in_text = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("=== ")) {
      chapter = line.substr(4);
    } else if (line.starts_with("== ")) {
      pages.push_back({chapter, split(line.substr(3), " "), {}, "", {}, ""});
      in_text = false;
    } else if (!pages.empty()) {
      add_line(pages.back(), line, in_text);
    }
  }
  for (Page& page : pages)
    while (page.text.ends_with("\n\n") || page.text == "\n") page.text.pop_back();
  return pages;
}

const std::vector<Page>& pages() {
  static const std::vector<Page> all = parse_pages(peri_embedded_manual);
  return all;
}

const Page* find_page(const std::string& name) {
  const auto found = std::ranges::find_if(
      pages(), [&](const Page& page) { return std::ranges::count(page.names, name) > 0; });
  return found == pages().end() ? nullptr : &*found;
}

}  // namespace peri::manual
