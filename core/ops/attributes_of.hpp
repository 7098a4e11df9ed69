// Each op's attributes as a struct, made from its row of ops.def, so that a wrong name or type does not
// build:
//
//   const auto slice = call.attributes.as<Op::slice>();  // slice.dim, slice.start, slice.stop, slice.step
//   graph.add(Op::permute, {x}, AttributesOf<Op::permute>{.dims = {1, 0}}, origin);
//   const Group& group = node.attributes.get<"group">();  // of a collective, whichever it is
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/ops/op.hpp"

namespace peri {

template <Kind kind>
consteval auto attribute_type() {
  if constexpr (kind == Kind::boolean) return std::type_identity<bool>();
  if constexpr (kind == Kind::integer || kind == Kind::index) return std::type_identity<int64_t>();
  if constexpr (kind == Kind::number) return std::type_identity<double>();
  if constexpr (kind == Kind::string) return std::type_identity<std::string>();
  if constexpr (kind == Kind::ints || kind == Kind::shape || kind == Kind::dims)
    return std::type_identity<Ints>();
  if constexpr (kind == Kind::dim) return std::type_identity<int>();
  if constexpr (kind == Kind::dtype) return std::type_identity<DType>();
  if constexpr (kind == Kind::place) return std::type_identity<Place>();
  if constexpr (kind == Kind::group) return std::type_identity<Group>();
  if constexpr (kind == Kind::reduce) return std::type_identity<Reduce>();
}
// What an attribute of this kind is in a struct. In an Attributes a dim is an int64 and a reduce its name.
template <Kind kind>
using AttributeType = decltype(attribute_type<kind>())::type;

template <Kind kind>
decltype(auto) from_value(const AttributeValue& value) {
  auto held_as = [&]<class T>(std::type_identity<T>) -> const T& {
    PERI_CHECK(std::holds_alternative<T>(value), "an attribute is of another type than its op's row says");
    return std::get<T>(value);
  };
  if constexpr (kind == Kind::dim) {
    return static_cast<int>(held_as(std::type_identity<int64_t>()));
  } else if constexpr (kind == Kind::reduce) {
    const Result<Reduce> reduce = parse_reduce(held_as(std::type_identity<std::string>()));
    PERI_CHECK(reduce, "an attribute is no reduction");
    return Reduce(*reduce);
  } else {
    return held_as(std::type_identity<AttributeType<kind>>());
  }
}

template <Kind kind>
AttributeValue to_value(const AttributeType<kind>& value) {
  if constexpr (kind == Kind::dim)
    return static_cast<int64_t>(value);
  else if constexpr (kind == Kind::reduce)
    return std::string(to_string(value));
  else
    return value;
}

template <Op op>
Attributes to_attributes(const AttributesOf<op>& attributes);

// The structs. An attribute with a default in its row has it here.
#define PERI_FIELDS(...) __VA_ARGS__
#define ARG(name, kind, ...)                 \
  AttributeType<Kind::kind> name __VA_OPT__( \
      = from_value<Kind::kind>(parse_default(Kind::kind, #__VA_ARGS__)));
// clang-format off
#define PERI_OP(name, family, min_operands, max_operands, attributes, ...)                                 \
  template <>                                                                                      \
  struct AttributesOf<Op::name> {                                                                  \
    PERI_FIELDS attributes                                                                         \
    operator Attributes() const { return to_attributes<Op::name>(*this); } /* NOLINT */            \
    static constexpr std::string_view kRow = #attributes;                                          \
  };
// clang-format on
#include "core/ops/ops.def"

// Calls visit.operator()<kind>(name, field) for each field of AttributesOf<op>, in declared order.
template <Op op>
struct FieldsOf;
#define ARG(name, kind, ...) visit.template operator()<Kind::kind>(#name, attributes.name);
#define PERI_OP(name, family, min_operands, max_operands, list, ...)             \
  template <>                                                                    \
  struct FieldsOf<Op::name> {                                                    \
    template <class A, class F>                                                  \
    static void each([[maybe_unused]] A& attributes, [[maybe_unused]] F visit) { \
      PERI_FIELDS list                                                           \
    }                                                                            \
  };
#include "core/ops/ops.def"

struct DeclaredAttribute {
  std::string_view name;
  Kind kind;
};
// Those of all rows.
inline constexpr DeclaredAttribute kDeclaredAttributes[] = {
#define ARG(name, kind, ...) {#name, Kind::kind},
#define PERI_OP(name, family, min_operands, max_operands, attributes, ...) PERI_FIELDS attributes
#include "core/ops/ops.def"
};
#undef PERI_FIELDS

// Not defined: a call makes `kind_named` no constant, and its name stands in the compiler's message.
void no_row_declares_an_attribute_of_this_name();
void rows_declare_this_attribute_of_different_kinds();

consteval Kind kind_named(std::string_view name) {
  std::optional<Kind> kind;
  for (const DeclaredAttribute& attribute : kDeclaredAttributes) {
    if (attribute.name != name) continue;
    if (kind && *kind != attribute.kind) rows_declare_this_attribute_of_different_kinds();
    kind = attribute.kind;
  }
  if (!kind) no_row_declares_an_attribute_of_this_name();
  return *kind;
}

template <Op op>
Attributes to_attributes(const AttributesOf<op>& attributes) {
  Attributes list;
  FieldsOf<op>::each(attributes, [&]<Kind kind>(std::string_view name, const auto& field) {
    list.set(name, to_value<kind>(field));
  });
  return list;
}

template <Op op, Op... same>
AttributesOf<op> Attributes::as() const {
  static_assert(((AttributesOf<op>::kRow == AttributesOf<same>::kRow) && ...),
                "the rows of these ops declare different attributes");
  AttributesOf<op> result{};
  FieldsOf<op>::each(result, [&]<Kind kind>(std::string_view name, auto& field) {
    const AttributeValue* value = find(name);
    PERI_CHECK(value, "an attribute that the op's row declares is absent");
    field = from_value<kind>(*value);
  });
  return result;
}

template <AttributeName name>
decltype(auto) Attributes::get() const {
  constexpr Kind kKind = kind_named(name.text);
  const AttributeValue* value = find(name.text);
  PERI_CHECK(value, "the attribute is absent");
  return from_value<kKind>(*value);
}

template <AttributeName name>
auto Attributes::find() const {
  constexpr Kind kKind = kind_named(name.text);
  const AttributeValue* value = find(name.text);
  return value ? std::optional<AttributeType<kKind>>(from_value<kKind>(*value)) : std::nullopt;
}

}  // namespace peri
