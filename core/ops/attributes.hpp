// The named arguments of an op: `dims`, `keepdim`, `group`, ... An op's row in ops.def declares which it has.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.hpp"
#include "core/types/dtype.hpp"
#include "core/types/group.hpp"

namespace peri {

using Ints = std::vector<int64_t>;
using AttributeValue = std::variant<bool, int64_t, double, std::string, Ints, DType, Place, Group>;

// Kept in the order of the op's declaration, every declared attribute present (defaults filled in by
// `complete`).
class Attributes {
 public:
  Attributes() = default;
  Attributes(std::initializer_list<std::pair<std::string, AttributeValue>> items) : items_(items) {}

  void set(std::string_view name, AttributeValue value);  // adds or replaces
  const AttributeValue* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  // The attribute as T; a PERI_CHECK if it is absent or of another type (the verifier has looked before).
  template <class T>
  const T& get(std::string_view name) const {
    const AttributeValue* value = find(name);
    PERI_CHECK(value && std::holds_alternative<T>(*value), "attribute absent or of another type");
    return std::get<T>(*value);
  }
  const auto& items() const { return items_; }
  bool operator==(const Attributes& other) const;  // numbers compared by `same_number`

 private:
  std::vector<std::pair<std::string, AttributeValue>> items_;
};

// As the text form prints it: true, 3, 0.5, "sum", [1,2], bf16, host, {0,1}.
std::string to_string(const AttributeValue& value);
// In double quotes; quotes, backslashes and control characters escaped as \", \\ and \xHH.
std::string quote(std::string_view text);
// Equality of numbers that are part of a program: the same bits, or both NaN. Unlike ==, it is reflexive and
// tells -0 from 0.
bool same_number(double a, double b);

}  // namespace peri
