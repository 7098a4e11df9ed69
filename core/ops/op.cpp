// The op and algorithm tables expanded into rows, and looking things up in them.
#include "core/ops/op.hpp"

#include <array>
#include <charconv>
#include <unordered_map>

#include <fmt/format.h>

namespace peri {

namespace {

constexpr std::array<const char*, 5> kReduceNames = {"sum", "avg", "min", "max", "prod"};

template <class T>
T parse_number(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  PERI_CHECK(error == std::errc() && end == text.data() + text.size(), "ops.def: a default is not a number");
  return value;
}

// "" where the row has no default.
AttributeInfo argument(const char* name, Kind kind, std::string_view fallback) {
  if (fallback.empty()) return {name, kind, std::nullopt};
  return {name, kind, parse_default(kind, fallback)};
}

uint32_t traits_of(Family family) {
  switch (family) {
#define PERI_FAMILY(name, Enum, traits, ...) \
  case Family::name:                         \
    return traits;
#include "core/ops/families.def"
  }
  PERI_CHECK(false, "every family is a row");
}

size_t results_of(Family family) {
  switch (family) {
#define PERI_FAMILY(name, Enum, traits, results) \
  case Family::name:                             \
    return results;
#include "core/ops/families.def"
  }
  PERI_CHECK(false, "every family is a row");
}

std::vector<OpInfo> build_table() {
  constexpr double kUnit = 1e-6;  // of the tolerance column
  std::vector<OpInfo> table;
  table.reserve(kOpCount);
#define PERI_LIST(...) {__VA_ARGS__}
#define ARG(name, kind, ...) argument(#name, Kind::kind, #__VA_ARGS__),
#define PERI_OP(name, family, min_operands, max_operands, attributes, dtypes, rule, tolerance,               \
                documentation)                                                                               \
  table.push_back({Op::name, #name, Family::family, min_operands, max_operands, PERI_LIST attributes,        \
                   DTypes::dtypes, #rule, traits_of(Family::family), (tolerance) * kUnit, documentation, "", \
                   ResultDType::same, results_of(Family::family)});
#define PERI_POINTWISE(name, arity, attributes, dtypes, result, tolerance, expression, documentation)      \
  table.push_back({Op::name, #name, Family::pointwise, arity, arity, PERI_LIST attributes, DTypes::dtypes, \
                   "pointwise", kPointwise, (tolerance) * kUnit, documentation, #expression,               \
                   ResultDType::result, 1});
#include "core/ops/ops.def"
#undef PERI_LIST
  return table;
}

const std::vector<OpInfo>& table() {
  static const std::vector<OpInfo> rows = build_table();
  return rows;
}

}  // namespace

// Lists and strings can only default to the empty one, groups to nothing.
AttributeValue parse_default(Kind kind, std::string_view text) {
  switch (kind) {
    case Kind::boolean:
      PERI_CHECK(text == "true" || text == "false", "ops.def: a default is not a bool");
      return text == "true";
    case Kind::integer:
    case Kind::dim:
    case Kind::index:
      return parse_number<int64_t>(text);
    case Kind::number:
      return parse_number<double>(text);
    case Kind::reduce:
      PERI_CHECK(parse_reduce(text), "ops.def: a default is not a reduction");
      return std::string(text);
    case Kind::string:
      PERI_CHECK(text == "\"\"", "ops.def: a string's default is not empty");
      return std::string();
    case Kind::ints:
    case Kind::shape:
    case Kind::dims:
      PERI_CHECK(text == "[]", "ops.def: a list's default is not []");
      return Ints{};
    case Kind::dtype: {
      Result<DType> dtype = parse_dtype(text);
      PERI_CHECK(dtype, "ops.def: a default is not a dtype");
      return *dtype;
    }
    case Kind::place: {
      Result<Place> place = parse_place(text);
      PERI_CHECK(place, "ops.def: a default is not a place");
      return *place;
    }
    case Kind::group:
      break;
  }
  PERI_CHECK(false, "ops.def: a group has no default");
  return false;
}

const OpInfo& info(Op op) {
  // The table is read millions of times while planning, so its guard is passed once.
  static const OpInfo* const rows = table().data();
  return rows[static_cast<size_t>(op)];
}

std::optional<Op> find_op(std::string_view name) {
  static const std::unordered_map<std::string_view, Op> index = [] {
    std::unordered_map<std::string_view, Op> map;
    for (const OpInfo& row : table()) map.emplace(row.name, row.op);
    return map;
  }();
  auto found = index.find(name);
  return found == index.end() ? std::nullopt : std::optional(found->second);
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const OpInfo& row : table()) names.emplace_back(row.name);
  return names;
}

const char* to_string(Kind kind) {
  switch (kind) {
    case Kind::boolean:
      return "a bool";
    case Kind::integer:
      return "an int";
    case Kind::number:
      return "a number";
    case Kind::string:
      return "a string";
    case Kind::ints:
      return "a list of ints";
    case Kind::shape:
      return "a shape";
    case Kind::dim:
      return "a dimension";
    case Kind::dims:
      return "a list of dimensions";
    case Kind::index:
      return "a position";
    case Kind::dtype:
      return "a dtype";
    case Kind::place:
      return "a place (device or host)";
    case Kind::group:
      return "a group";
    case Kind::reduce:
      return "a reduction (sum, avg, min, max or prod)";
  }
  return "?";
}

const char* to_string(Reduce r) {
  return kReduceNames[static_cast<size_t>(r)];
}

Result<Reduce> parse_reduce(std::string_view name) {
  for (size_t i = 0; i < kReduceNames.size(); ++i)
    if (name == kReduceNames[i]) return static_cast<Reduce>(i);
  return fail(Code::NotFound, "no such reduction: " + std::string(name), {},
              "the reductions are sum, avg, min, max and prod");
}

}  // namespace peri
