// The named arguments of an op: `dims`, `keepdim`, `group`, ... An op's row in ops.def declares which it has.
// This is the list that Lua and the text form fill and print; C++ reads it through attributes_of.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.hpp"
#include "core/types/dtype.hpp"
#include "core/types/group.hpp"

namespace peri {

enum class Op : uint8_t;
template <Op op>
struct AttributesOf;

// The name of an attribute as a template argument.
struct AttributeName {
  char text[16]{};
  template <size_t n>
  consteval AttributeName(const char (&name)[n]) {  // NOLINT(google-explicit-constructor)
    static_assert(n <= sizeof text);
    std::copy_n(name, n, text);
  }
};

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
  // As the struct that the op's row declares (attributes_of.hpp). The attributes are completed. Several ops
  // may be named where their rows declare the same.
  template <Op op, Op... same>
  AttributesOf<op> as() const;
  // The attribute of this name, in the type that the rows declare: for what many ops share, as
  // `get<"group">()`. It does not build if no row declares the name, or if two rows declare it of different
  // kinds.
  template <AttributeName name>
  decltype(auto) get() const;
  template <AttributeName name>
  auto find() const;  // nothing where there is none
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
