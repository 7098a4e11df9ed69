// An op's named arguments as a short ordered list, and how a value prints.
#include "core/ops/attributes.hpp"

#include <bit>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace peri {

bool same_number(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
}

void Attributes::set(std::string_view name, AttributeValue value) {
  for (auto& [key, old] : items_)
    if (key == name) {
      old = std::move(value);
      return;
    }
  items_.emplace_back(std::string(name), std::move(value));
}

const AttributeValue* Attributes::find(std::string_view name) const {
  for (const auto& [key, value] : items_)
    if (key == name) return &value;
  return nullptr;
}

bool Attributes::operator==(const Attributes& other) const {
  return std::equal(items_.begin(), items_.end(), other.items_.begin(), other.items_.end(),
                    [](const auto& a, const auto& b) {
                      const double* x = std::get_if<double>(&a.second);
                      const double* y = std::get_if<double>(&b.second);
                      return a.first == b.first && (x && y ? same_number(*x, *y) : a.second == b.second);
                    });
}

namespace {

struct Printer {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return fmt::to_string(value); }
  // fmt prints the shortest digits that read back as the same double. A NaN's sign and payload are not kept.
  std::string operator()(double value) const { return std::isnan(value) ? "nan" : fmt::format("{}", value); }
  std::string operator()(const std::string& value) const { return quote(value); }
  std::string operator()(const Ints& value) const { return fmt::format("[{}]", fmt::join(value, ",")); }
  std::string operator()(DType value) const { return peri::to_string(value); }
  std::string operator()(Place value) const { return peri::to_string(value); }
  std::string operator()(const Group& value) const { return value.to_string(); }
};

}  // namespace

std::string quote(std::string_view text) {
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      quoted += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else
      quoted += c;
  }
  return quoted + '"';
}

std::string to_string(const AttributeValue& value) {
  return std::visit(Printer{}, value);
}

}  // namespace peri
