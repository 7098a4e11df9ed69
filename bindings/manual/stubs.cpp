// See stubs.hpp. The format: https://luals.github.io/wiki/annotations
#include "bindings/manual/stubs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <vector>

#include "bindings/lua/tensor.hpp"
#include "bindings/manual/operations.hpp"

namespace peri::manual {
namespace {

constexpr const char* kPreamble = R"(---@meta peri
-- Annotations of Perilune's Lua API for lua-language-server, made by `peri help --stubs`: save them as peri.lua in a
-- folder that the setting Lua.workspace.library names. Dimensions and positions are 1-based, negative ones count from
-- the end; ranks are 0-based.

---@alias peri.dtype "f32"|"f16"|"bf16"|"i32"|"i64"|"u8"|"bool"
---@alias peri.place "device"|"host"
---@alias peri.reduce "sum"|"avg"|"min"|"max"|"prod"
)";

// The tables that have functions: what a form in the manual calls them, and their class.
struct Owner {
  // In a form: "x" of "x:item()".
  const char* in_form;
  // In the stubs: the variable and what joins it with a function's name.
  const char* variable;
  const char* separator;
  // The class and its annotations.
  const char* head;
};
constexpr std::array kOwners = {
    Owner{"x", "Tensor", ":", R"(---@class peri.Tensor
---@operator add(peri.Tensor|number): peri.Tensor
---@operator sub(peri.Tensor|number): peri.Tensor
---@operator mul(peri.Tensor|number): peri.Tensor
---@operator div(peri.Tensor|number): peri.Tensor
---@operator mod(peri.Tensor|number): peri.Tensor
---@operator pow(peri.Tensor|number): peri.Tensor
---@operator unm: peri.Tensor
---@field [integer] peri.Tensor a position of the first dimension
)"},
    Owner{"f", "Compiled", ":", "---@class peri.Compiled\n---@overload fun(...): ...\n"},
    Owner{"file", "File", ":", "---@class peri.File an open safetensors file\n"},
    Owner{"group", "Group", ".", "---@class peri.Group ranks that communicate\n"},
    Owner{"peri.symm", "symm", ".", "---@class peri.symm collectives by the name of their algorithm\n"},
    Owner{"peri", "peri", ".", "---@class peri\n"},
};

struct Function {
  // "peri.", "Tensor:", "symm."
  std::string owner;
  std::string name;
  std::string documentation;
  // Without the tensor that a method is called on.
  std::vector<Row> parameters;
  std::string returns = "peri.Tensor";
  std::vector<std::vector<Row>> overloads = {};
};

std::string signature(const std::vector<Row>& parameters) {
  std::vector<std::string> parts;
  for (const Row& p : parameters)
    parts.push_back(fmt::format("{}{}: {}", p.name, p.is_optional() ? "?" : "", p.type));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// `end` is a word of Lua.
std::string safe(const std::string& name) {
  return name == "end" ? "end_" : name;
}

std::string text_of(const Function& f) {
  std::string text = "\n---" + f.documentation + "\n";
  std::vector<std::string> names;
  for (const Row& p : f.parameters) {
    names.push_back(safe(p.name));
    text += fmt::format("---@param {}{} {}", names.back(), p.is_optional() ? "?" : "", p.type);
    text += (p.meaning.empty() ? "" : " ") + p.meaning + "\n";
  }
  if (!f.returns.empty()) text += "---@return " + f.returns + "\n";
  for (const auto& overload : f.overloads) {
    const std::string self = f.owner == "Tensor:" ? "self: peri.Tensor" : "";
    const std::string rest = signature(overload);
    text += fmt::format("---@overload fun({}{}{}){}\n", self, !self.empty() && !rest.empty() ? ", " : "",
                        rest, f.returns.empty() ? "" : ": " + f.returns);
  }
  return text + fmt::format("function {}{}({}) end\n", f.owner, f.name, fmt::join(names, ", "));
}

std::string class_text(const std::string& name, const std::string& documentation,
                       const std::vector<Row>& rows) {
  std::string text = fmt::format("\n---@class {} {}\n", name, documentation);
  while (text.ends_with(" \n")) text.erase(text.size() - 2, 1);
  for (const Row& r : rows)
    text += fmt::format("---@field {}{} {} {}\n", r.name, r.is_optional() ? "?" : "", r.type, r.meaning);
  return text;
}

// --- the manual's pages ---

// The rows "options.NAME" of a page, as fields.
std::vector<Row> options_of(const Page& page) {
  std::vector<Row> fields;
  for (Row row : page.rows)
    if (row.name.starts_with("options.")) {
      row.name = row.name.substr(8);
      fields.push_back(std::move(row));
    }
  return fields;
}

Function function_of(const Page& page, const Form& form, const Owner& owner) {
  Function f{std::string(owner.variable) + owner.separator, form.name, page.summary, {}, form.type};
  for (const std::string& name : form.parameters) {
    const auto row = std::ranges::find(page.rows, name, &Row::name);
    if (row != page.rows.end())
      f.parameters.push_back(*row);
    else
      f.parameters.push_back({name, "peri.options." + form.name, "nil", ""});
  }
  return f;
}

std::string classes_of_pages() {
  std::string text;
  for (const Page& page : pages())
    for (const Form& form : page.forms) {
      if (form.kind == Form::Kind::table) text += class_text(form.name, page.summary, page.rows);
      if (form.kind == Form::Kind::function && std::ranges::count(form.parameters, "options"))
        text += class_text("peri.options." + form.name, "", options_of(page));
    }
  return text;
}

std::string owner_text(const Owner& owner) {
  std::string text = std::string("\n") + owner.head, functions;
  for (const Page& page : pages())
    for (const Form& form : page.forms) {
      if (form.owner != owner.in_form) continue;
      if (form.kind == Form::Kind::value)
        text += fmt::format("---@field {} {} {}\n", form.name, form.type, page.summary);
      else
        functions += text_of(function_of(page, form, owner));
    }
  return text + fmt::format("local {} = {{}}\n", owner.variable) + functions;
}

// --- the op table ---

// An algorithm's type names those that the collective has.
std::vector<Row> typed_attributes(const OpInfo& row) {
  std::vector<Row> attributes = attributes_of(row);
  std::vector<std::string> names;
  for (const AlgorithmInfo& algorithm : algorithms())
    if (algorithm.op == row.op) names.push_back(fmt::format("\"{}\"", algorithm.name));
  for (Row& a : attributes)
    if (a.name == "algorithm" && !names.empty()) a.type = fmt::format("{}", fmt::join(names, "|"));
  return attributes;
}

std::string options_name(const OpInfo& row) {
  return "peri.options." + std::string(row.name);
}

// What an op takes, and as overloads what it takes too: attributes as a table, and a lookup's dimension
// before its index.
Function function_of(const OpInfo& row, const std::string& owner, const std::string& name) {
  Function f{owner, name, std::string(row.documentation), operands_of(row)};
  if (owner == "Tensor:" && !f.parameters.empty()) f.parameters.erase(f.parameters.begin());
  const std::vector<Row> operands = f.parameters, attributes = typed_attributes(row);
  f.parameters.insert(f.parameters.end(), attributes.begin(), attributes.end());
  if (row.op == Op::send || row.op == Op::barrier) f.returns = "";
  for (size_t i = 1; i < row.results; ++i) f.returns += ", peri.Tensor";
  if (row.op == Op::barrier) return f;
  if (!attributes.empty()) {
    f.overloads.push_back(operands);
    f.overloads.back().push_back({"options", options_name(row), "-", ""});
  }
  if (row.min_operands > 1 && !row.attributes.empty() && row.attributes[0].kind == Kind::dim) {
    std::vector<Row> lookup = operands;
    lookup.insert(lookup.begin() + (owner == "Tensor:" ? 0 : 1), attributes[0]);
    lookup.insert(lookup.end(), attributes.begin() + 1, attributes.end());
    f.overloads.push_back(std::move(lookup));
  }
  return f;
}

std::string op_text(const OpInfo& row) {
  const std::string name(row.name);
  std::string text;
  if (!row.attributes.empty()) text += class_text(options_name(row), "", typed_attributes(row));
  text += text_of(function_of(row, "peri.", name));
  if (!is_method(row)) return text;
  text += text_of(function_of(row, "Tensor:", name));
  for (const std::string& alias : aliases_of(row)) text += text_of(function_of(row, "Tensor:", alias));
  if (lua::has_in_place_form(row.op)) {
    Function in_place = function_of(row, "Tensor:", name + "_");
    in_place.documentation += " In place.";
    text += text_of(in_place);
  }
  return text;
}

std::string algorithm_text(const AlgorithmInfo& a) {
  const OpInfo& row = info(a.op);
  std::string text;
  for (const std::string& name : forms_of(a)) {
    Function f = function_of(row, "symm.", name);
    f.documentation = fmt::format("{} By {}.", row.documentation, a.name);
    f.overloads.clear();
    std::erase_if(f.parameters, [](const Row& p) { return p.name == "algorithm"; });
    if (name.ends_with("_out")) {
      f.documentation += " Writes its last argument.";
      f.parameters.push_back({"out", "peri.Tensor", "-", ""});
      for (Row& p : f.parameters) p.fallback = "-";
      f.overloads.push_back({f.parameters.front(), f.parameters.back()});
    } else if (name.ends_with("_copy")) {
      f.documentation += " `a` is copied into the symmetric buffer first.";
      f.parameters.insert(f.parameters.begin(), {"buffer", "peri.Tensor", "-", ""});
    } else if (name.ends_with('_')) {
      f.documentation += " In place.";
    }
    text += text_of(f);
  }
  return text;
}

}  // namespace

std::string editor_stubs() {
  std::string text = kPreamble + classes_of_pages();
  for (const Owner& owner : kOwners) text += owner_text(owner);
  for (int i = 0; i < kOpCount; ++i)
    if (const OpInfo& row = info(static_cast<Op>(i)); !row.has(kInternal)) text += op_text(row);
  for (const AlgorithmInfo& a : algorithms()) text += algorithm_text(a);
  return text + "\nreturn peri\n";
}

}  // namespace peri::manual
