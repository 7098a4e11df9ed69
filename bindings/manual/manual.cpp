// See manual.hpp.
#include "bindings/manual/manual.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>
#include <sstream>

#include "bindings/launcher/exit_codes.hpp"
#include "bindings/lua/tensor.hpp"
#include "bindings/manual/operations.hpp"

namespace peri::manual {
namespace {

constexpr size_t kWidth = 100;
// Of lists, which are indented with the text that they stand in.
constexpr size_t kListWidth = kWidth - 4;

// Words put into lines of the page's width, all indented alike.
std::string wrapped(const std::string& text, size_t indent, size_t width = kWidth) {
  std::string result, line;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) {
      result += std::string(indent, ' ') + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return line.empty() ? result : result + std::string(indent, ' ') + line + "\n";
}

// A type of lua-language-server as the manual shows it: "peri.Tensor[]" is "tensor[]".
std::string shown_type(std::string type) {
  constexpr std::string_view kPrefix = "peri.";
  for (size_t at = type.find(kPrefix); at != type.npos; at = type.find(kPrefix)) {
    type.erase(at, kPrefix.size());
    if (at < type.size()) type[at] = static_cast<char>(std::tolower(static_cast<unsigned char>(type[at])));
  }
  if (const size_t function = type.find("fun("); function != type.npos)
    type.replace(function, type.npos, "function");
  return type;
}

std::string shown_default(const Row& row) {
  if (row.fallback == "-") return "required";
  return row.fallback == "nil" ? "" : row.fallback;
}

// The rows as a table. Defaults of fields of which none has one are left out.
std::string table(const std::vector<Row>& rows, bool are_arguments) {
  if (rows.empty()) return "";
  std::vector<std::vector<std::string>> columns = {
      {are_arguments ? "argument" : "name"}, {"type"}, {"default"}};
  for (const Row& row : rows) {
    columns[0].push_back(row.name);
    columns[1].push_back(shown_type(row.type));
    columns[2].push_back(shown_default(row));
  }
  if (!are_arguments && std::ranges::all_of(rows, [](const Row& row) { return row.fallback == "-"; }))
    columns.pop_back();
  size_t indent = 4;
  for (std::vector<std::string>& column : columns) {
    const size_t width = std::ranges::max(column, {}, &std::string::size).size() + 2;
    for (std::string& cell : column) cell.resize(width, ' ');
    indent += width;
  }
  std::string text;
  for (size_t i = 0; i <= rows.size(); ++i) {
    std::string line = "    ";
    for (const std::vector<std::string>& column : columns) line += column[i];
    const std::string meaning = wrapped(i == 0 ? "meaning" : rows[i - 1].meaning, indent);
    text += line + (meaning.empty() ? "\n" : meaning.substr(std::min(indent, meaning.size())));
  }
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

// --- lists that a page contains ---

// Positions in a tensor say which elements are read or written.
bool looks_up(const OpInfo& row) {
  const bool is_by_dim =
      row.min_operands > 1 && !row.attributes.empty() && row.attributes[0].kind == Kind::dim;
  return row.family == Family::gather || is_by_dim;
}

// "others" is what the sections before it leave.
struct Section {
  const char* name;
  bool (*has)(const OpInfo& row);
};
constexpr std::array kSections = {
    Section{"creation", [](const OpInfo& row) { return row.has(kCreation); }},
    Section{"pointwise", [](const OpInfo& row) { return row.has(kPointwise) && row.max_operands == 1; }},
    Section{"operators", [](const OpInfo& row) { return row.has(kPointwise) && row.max_operands > 1; }},
    Section{"reductions",
            [](const OpInfo& row) {
              return row.has(kReduction) || row.op == Op::any || row.op == Op::all || row.op == Op::norm;
            }},
    Section{"views", [](const OpInfo& row) { return row.has(kView); }},
    Section{"collectives", [](const OpInfo& row) { return row.has(kCollective); }},
    Section{"lookups", looks_up},
    Section{"others", [](const OpInfo&) { return true; }}};

std::vector<const OpInfo*> ops_of(const Section& section) {
  std::vector<const OpInfo*> rows;
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& row = info(static_cast<Op>(i));
    if (row.has(kInternal)) continue;
    const auto first = std::ranges::find_if(kSections, [&](const Section& s) { return s.has(row); });
    if (first->name == section.name) rows.push_back(&row);
  }
  return rows;
}

// Without its full stop; an ellipsis ends no sentence.
std::string first_sentence(std::string_view text) {
  size_t end = text.find(". ");
  while (end != text.npos && end > 0 && text[end - 1] == '.') end = text.find(". ", end + 1);
  std::string sentence(text.substr(0, end));
  if (sentence.ends_with('.')) sentence.pop_back();
  return sentence;
}

// "%ops": the names of all ops; "%ops NAME": those of a section, each with its first sentence.
std::string list_of_ops(const std::string& name) {
  std::string text;
  for (const Section& section : kSections) {
    if (!name.empty() && name != section.name) continue;
    std::vector<std::string> names;
    for (const OpInfo* row : ops_of(section)) {
      names.emplace_back(row->name);
      if (!name.empty()) {
        const std::string lines = wrapped(first_sentence(row->documentation), 19, kListWidth);
        text += fmt::format("    {:<14} {}", row->name, lines.substr(19));
      }
    }
    if (name.empty()) {
      const std::string lines = wrapped(fmt::format("{}", fmt::join(names, " ")), 17, kListWidth);
      text += fmt::format("    {:<12} {}", section.name, lines.substr(17));
    }
  }
  return text;
}

std::string list_of_pages() {
  std::string text, chapter, names;
  auto flush = [&] {
    if (!chapter.empty()) text += chapter + "\n" + wrapped(names, 4, kListWidth);
    names.clear();
  };
  for (const Page& page : pages()) {
    if (find_op(page.name())) continue;
    if (page.chapter != chapter) flush();
    chapter = page.chapter;
    names += page.name() + " ";
  }
  flush();
  return text;
}

std::string list_of_exit_codes() {
  std::string text;
  for (const launcher::ExitCode& row : launcher::kExitCodes)
    text += fmt::format("{:>9}  {}\n", row.code, row.meaning);
  return text + "    128+n  killed by signal n\n";
}

std::string expanded(const std::string& text) {
  std::string result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word, argument;
    words >> word >> argument;
    if (word == "%ops")
      result += list_of_ops(argument);
    else if (word == "%pages")
      result += list_of_pages();
    else if (word == "%exit-codes")
      result += list_of_exit_codes();
    else
      result += line + "\n";
  }
  return result;
}

// --- pages ---

// Parts of a page, with an empty line between them.
std::string joined(std::initializer_list<std::string> parts) {
  std::string text;
  for (const std::string& part : parts)
    if (!part.empty()) text += (text.empty() ? "" : "\n") + part;
  return text;
}

// The lines of `text`, indented.
std::string indented(const std::string& text) {
  std::string result;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) result += (line.empty() ? "" : "    ") + line + "\n";
  return result;
}

bool is_parameter(const Page& page, const std::string& row) {
  return std::ranges::any_of(page.forms,
                             [&](const Form& f) { return std::ranges::count(f.parameters, row) > 0; });
}

std::string text_of(const Page& page) {
  std::string head;
  for (const Form& form : page.forms)
    if (form.kind != Form::Kind::table)
      head += form.text + (form.type.empty() ? "" : "  ->  " + shown_type(form.type)) + "\n";
  if (head.empty()) head = page.name() + "\n";
  const bool takes_arguments =
      std::ranges::any_of(page.forms, [](const Form& f) { return !f.parameters.empty(); });
  return joined(
      {head + wrapped(page.summary, 4), table(page.rows, takes_arguments), indented(expanded(page.text))});
}

std::string usage_of(const OpInfo& row, const std::vector<Row>& operands,
                     const std::vector<Row>& attributes) {
  std::vector<std::string> names;
  for (const Row& r : operands) names.push_back(r.name);
  for (const Row& r : attributes) names.push_back(r.name);
  std::vector<std::string> forms = {fmt::format("peri.{}({})", row.name, fmt::join(names, ", "))};
  if (is_method(row) && !operands.empty()) {
    names.erase(names.begin());
    std::vector<std::string> methods = {std::string(row.name)};
    for (std::string& alias : aliases_of(row)) methods.push_back(std::move(alias));
    if (lua::has_in_place_form(row.op)) methods.push_back(std::string(row.name) + "_");
    for (const std::string& method : methods)
      forms.push_back(fmt::format("a:{}({})", method, fmt::join(names, ", ")));
  }
  const std::string line = fmt::format("{}\n", fmt::join(forms, "    "));
  return line.size() <= kWidth ? line : fmt::format("{}\n", fmt::join(forms, "\n"));
}

const char* dtypes_name(DTypes dtypes) {
  switch (dtypes) {
    case DTypes::floats:
      return "Operands: f32, f16 or bf16.";
    case DTypes::numeric:
      return "Operands: f32, f16, bf16, i32, i64 or u8.";
    case DTypes::integers:
      return "Operands: i32, i64 or u8.";
    case DTypes::any:
      return "Operands: any dtype.";
    case DTypes::mixed:
      return "";
  }
  return "";
}

// `page` adds to what the table says; it may be null.
std::string text_of(const OpInfo& row, const Page* page) {
  std::vector<Row> operands = operands_of(row), attributes = attributes_of(row);
  std::vector<Row> rows = operands;
  rows.insert(rows.end(), attributes.begin(), attributes.end());
  if (page)
    for (const Row& more : page->rows) {
      auto found = std::ranges::find(rows, more.name, &Row::name);
      PERI_CHECK(found != rows.end(), "the manual describes an argument that the op does not have");
      found->meaning = more.meaning;
      if (!more.fallback.empty()) found->fallback = more.fallback;
    }
  // Operands of which there is nothing to say are described well enough by the line above.
  std::erase_if(rows, [](const Row& r) { return r.meaning.empty() && !r.is_optional(); });
  std::string summary = wrapped(std::string(row.documentation), 4);
  if (page && !page->summary.empty()) summary += wrapped(page->summary, 4);
  if (row.min_operands > 0) summary += wrapped(dtypes_name(row.dtypes), 4);
  std::string algorithms_text;
  for (const AlgorithmInfo& a : algorithms()) {
    if (a.op != row.op || !collective_info(a.op).has_choice()) continue;
    if (algorithms_text.empty()) algorithms_text = "    algorithms\n";
    algorithms_text +=
        fmt::format("      {:<18} {}", a.name, wrapped(std::string(a.documentation), 25).substr(25));
  }
  const std::string computes = row.expression.empty() ? "" : fmt::format("    computes {}\n", row.expression);
  return joined({usage_of(row, operands, attributes) + summary, computes, table(rows, true), algorithms_text,
                 page ? indented(expanded(page->text)) : ""});
}

std::string text_of(const AlgorithmInfo& algorithm) {
  std::string text = wrapped(fmt::format("peri.symm: {}", fmt::join(forms_of(algorithm), ", ")), 0);
  text += wrapped(fmt::format("{} by the algorithm {}. {}", to_string(algorithm.op), algorithm.name,
                              algorithm.documentation),
                  4);
  return text + fmt::format("\n    See also: symm, {}.\n", to_string(algorithm.op));
}

// --- names ---

// "peri.chunk(x)" is "chunk"; an option and a file's name stay.
std::string last_part(const std::string& name) {
  const std::string path = name.substr(0, name.find('('));
  const size_t dot = path.find_last_of(".:");
  return dot == path.npos || dot + 1 == path.size() ? path : path.substr(dot + 1);
}

std::optional<Op> op_named(const std::string& name) {
  if (auto op = find_op(name)) return info(*op).has(kInternal) ? std::nullopt : op;
  for (const auto& [alias, target] : lua::kMethodAliases)
    if (name == alias) return find_op(target);
  if (!name.ends_with('_')) return std::nullopt;
  const auto op = find_op(name.substr(0, name.size() - 1));
  return op && lua::has_in_place_form(*op) ? op : std::nullopt;
}

const AlgorithmInfo* algorithm_named(const std::string& name) {
  for (const AlgorithmInfo& a : algorithms())
    if (std::ranges::count(forms_of(a), name)) return &a;
  return nullptr;
}

const Page* page_with_form(const std::string& name, bool whole) {
  for (const Page& page : pages())
    for (const Form& form : page.forms)
      if (name == (whole ? form.text.substr(0, form.text.find('(')) : form.name)) return &page;
  return nullptr;
}

// Fields, options and variables are looked up by name; arguments are not.
bool has_name(const Page& page, const Row& row) {
  return !find_op(page.name()) && !is_parameter(page, row.name) && !row.name.contains('.');
}

std::optional<std::string> row_text(const std::string& name) {
  std::string text;
  for (const Page& page : pages())
    for (const Row& row : page.rows)
      if (row.name == name && has_name(page, row))
        text += fmt::format("{}{} : `peri help {}`\n{}", text.empty() ? "" : "\n", name, page.name(),
                            wrapped(row.meaning, 4));
  return text.empty() ? std::nullopt : std::optional(text);
}

}  // namespace

Result<std::string> manual(const std::string& name) {
  const std::string path = name.substr(0, name.find('('));
  if (const Page* page = page_with_form(path, true)) return text_of(*page);
  for (const std::string& word : {path, last_part(name)}) {
    const Page* page = find_page(word);
    if (const auto op = op_named(word)) return text_of(info(*op), find_page(std::string(to_string(*op))));
    if (page) return text_of(*page);
    if (const AlgorithmInfo* algorithm = algorithm_named(word)) return text_of(*algorithm);
    if (const Page* described = page_with_form(word, false)) return text_of(*described);
    if (auto text = row_text(word)) return *text;
  }
  auto near = nearest(last_part(name), known_names());
  return fail(Code::NotFound, fmt::format("no page '{}'", name), {},
              near ? fmt::format("did you mean '{}'?", *near) : "`peri help index` lists all pages");
}

std::vector<std::string> known_names() {
  std::set<std::string> names;
  for (const Page& page : pages()) {
    names.insert(page.names.begin(), page.names.end());
    for (const Form& form : page.forms)
      if (form.kind != Form::Kind::table && form.kind != Form::Kind::command) names.insert(form.name);
    for (const Row& row : page.rows)
      if (has_name(page, row)) names.insert(row.name);
  }
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& row = info(static_cast<Op>(i));
    if (row.has(kInternal)) continue;
    names.emplace(row.name);
    for (std::string& alias : aliases_of(row)) names.insert(std::move(alias));
    if (lua::has_in_place_form(row.op)) names.insert(std::string(row.name) + "_");
  }
  for (const AlgorithmInfo& a : algorithms())
    for (std::string& form : forms_of(a)) names.insert(std::move(form));
  return {names.begin(), names.end()};
}

const std::string& meaning_on_page(const std::string& page, const std::string& row) {
  const Page* found = find_page(page);
  PERI_CHECK(found, "the manual has no such page");
  const auto at = std::ranges::find(found->rows, row, &Row::name);
  PERI_CHECK(at != found->rows.end(), "a page of the manual lacks a row");
  return at->meaning;
}

}  // namespace peri::manual
