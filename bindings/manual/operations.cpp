// See operations.hpp.
#include "bindings/manual/operations.hpp"

#include <fmt/format.h>

#include "bindings/lua/tensor.hpp"

namespace peri::manual {
namespace {

const char* meaning_of(Kind kind) {
  switch (kind) {
    case Kind::boolean:
      return "true or false";
    case Kind::integer:
      return "a whole number";
    case Kind::number:
      return "a number";
    case Kind::string:
      return "a name";
    case Kind::ints:
      return "one whole number, or a table";
    case Kind::shape:
      return "sizes, such as {2, 3}";
    case Kind::dim:
      return "a dimension, 1-based, negative from the end";
    case Kind::dims:
      return "dimensions, 1-based, negative from the end; {} means all";
    case Kind::index:
      return "a position, 1-based, negative from the end";
    case Kind::dtype:
      return "the element type";
    case Kind::place:
      return "\"device\" or \"host\"";
    case Kind::group:
      return "the ranks that take part";
    case Kind::reduce:
      return "\"sum\", \"avg\", \"min\", \"max\" or \"prod\"";
  }
  return "";
}

std::string fallback_of(const AttributeInfo& a) {
  if (a.kind == Kind::group) return "peri.world";
  if (!a.fallback) return "-";
  if (a.name == "seed" || a.name == "algorithm") return "nil";
  if (const auto* dim = std::get_if<int64_t>(&*a.fallback);
      dim && (a.kind == Kind::dim || a.kind == Kind::index))
    return std::to_string(*dim >= 0 ? *dim + 1 : *dim);
  const std::string text = to_string(*a.fallback);
  if (text == "[]") return "{}";
  return text == "\"\"" ? "nil" : text;
}

}  // namespace

const char* type_of(Kind kind) {
  switch (kind) {
    case Kind::boolean:
      return "boolean";
    case Kind::integer:
    case Kind::dim:
    case Kind::index:
      return "integer";
    case Kind::number:
      return "number";
    case Kind::string:
      return "string";
    case Kind::shape:
      return "integer[]";
    case Kind::ints:
    case Kind::dims:
      return "integer|integer[]";
    case Kind::dtype:
      return "peri.dtype";
    case Kind::place:
      return "peri.place";
    case Kind::group:
      return "peri.Group|integer[]";
    case Kind::reduce:
      return "peri.reduce";
  }
  return "any";
}

std::vector<Row> operands_of(const OpInfo& row) {
  if (row.max_operands < 0) return {{"tensors", "peri.Tensor[]", "-", ""}};
  std::vector<Row> list;
  if (row.op == Op::barrier) return list;
  const char* type = row.has(kPointwise) ? "peri.Tensor|number" : "peri.Tensor";
  for (int i = 0; i < row.max_operands; ++i)
    list.push_back(
        {std::string(1, static_cast<char>('a' + i)), type, i < row.min_operands ? "-" : "nil", ""});
  return list;
}

std::vector<Row> attributes_of(const OpInfo& row) {
  std::vector<Row> list;
  for (const AttributeInfo& a : row.attributes) {
    std::string meaning = meaning_of(a.kind);
    if (a.name == "seed") meaning = "drawn anew if absent: `peri help seed`";
    if (a.name == "algorithm") meaning = "one of those below; chosen by the policy or by size if absent";
    list.push_back({a.name, type_of(a.kind), fallback_of(a), meaning});
  }
  return list;
}

bool is_method(const OpInfo& row) {
  return !row.has(kCreation) && row.max_operands >= 1;
}

std::vector<std::string> aliases_of(const OpInfo& row) {
  std::vector<std::string> names;
  for (const auto& [alias, name] : lua::kMethodAliases)
    if (name == row.name) names.emplace_back(alias);
  return names;
}

std::string symm_name(const AlgorithmInfo& algorithm) {
  return fmt::format("{}_{}", algorithm.name, to_string(algorithm.op));
}

std::vector<std::string> forms_of(const AlgorithmInfo& algorithm) {
  if (!collective_info(algorithm.op).has_choice()) return {};
  const std::string name = symm_name(algorithm);
  std::vector<std::string> names = {name, name + "_out"};
  if (lua::has_in_place_form(algorithm.op)) names.push_back(name + "_");
  if (algorithm.symmetric == kInput && !algorithm.clobbers_input) names.push_back(name + "_copy");
  return names;
}

}  // namespace peri::manual
