// How numbers and attributes of a plan are written.
#include "planner/text/format.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "planner/lines.hpp"

namespace peri::planner {

std::string lua_number(double value) {
  if (std::isnan(value)) return "0/0";
  if (std::isinf(value)) return value > 0 ? "math.huge" : "-math.huge";
  if (value == 0 && std::signbit(value)) return "-0.0";
  return fmt::format("{}", value);
}

std::string lua_dims(std::span<const int64_t> dims) {
  return fmt::format("{{{}}}", fmt::join(dims.begin(), dims.end(), ", "));
}

std::string lua_value(Kind kind, const AttributeValue& value) {
  const int64_t base = kind == Kind::dim || kind == Kind::dims || kind == Kind::index ? 1 : 0;
  return std::visit(
      Overloaded{[](bool v) -> std::string { return v ? "true" : "false"; },
                 [&](int64_t v) { return fmt::format("{}", v + base); },
                 [](double v) { return lua_number(v); }, [](const std::string& v) { return quote(v); },
                 [&](Ints v) {
                   for (int64_t& dim : v) dim += base;
                   return fmt::format("{{{}}}", fmt::join(v, ", "));
                 },
                 [](DType v) { return fmt::format("\"{}\"", to_string(v)); },
                 [](Place v) { return fmt::format("\"{}\"", to_string(v)); },
                 [](const Group& v) { return fmt::format("{{{}}}", fmt::join(v.ranks, ", ")); }},
      value);
}

std::string lua_attributes(Op op, const Attributes& attributes) {
  std::string text;
  for (const AttributeInfo& row : info(op).attributes) {
    const AttributeValue* value = attributes.find(row.name);
    if (!value || row.name == "group" || row.name == "algorithm") continue;
    text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", row.name, lua_value(row.kind, *value));
  }
  return text;
}

}  // namespace peri::planner
