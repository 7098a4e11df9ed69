// The op and algorithm tables expanded into rows, and looking things up in them.
#include "core/ops/op.hpp"

#include <array>
#include <charconv>
#include <unordered_map>

#include <fmt/format.h>

namespace peri {

namespace {

constexpr std::array<std::pair<std::string_view, Kind>, 13> kKinds = {{{"bool", Kind::boolean},
                                                                       {"int", Kind::integer},
                                                                       {"float", Kind::number},
                                                                       {"string", Kind::string},
                                                                       {"ints", Kind::ints},
                                                                       {"shape", Kind::shape},
                                                                       {"dim", Kind::dim},
                                                                       {"dims", Kind::dims},
                                                                       {"index", Kind::index},
                                                                       {"dtype", Kind::dtype},
                                                                       {"place", Kind::place},
                                                                       {"group", Kind::group},
                                                                       {"reduce", Kind::reduce}}};
constexpr std::array<const char*, 5> kReduceNames = {"sum", "avg", "min", "max", "prod"};

template <class T>
T parse_number(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  PERI_CHECK(error == std::errc() && end == text.data() + text.size(), "ops.def: a default is not a number");
  return value;
}

// A default as ops.def writes it. Lists can only default to the empty one, groups to nothing.
AttributeValue parse_fallback(Kind kind, std::string_view text) {
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
      [[fallthrough]];
    case Kind::string:
      return std::string(text);
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

// "name:kind=default name:kind ..."
std::vector<AttributeInfo> parse_attributes(std::string_view spec) {
  std::vector<AttributeInfo> attributes;
  while (!spec.empty()) {
    std::string_view item = spec.substr(0, spec.find(' '));
    spec.remove_prefix(std::min(spec.size(), item.size() + 1));
    const size_t colon = item.find(':');
    PERI_CHECK(colon != std::string_view::npos && colon > 0, "ops.def: an attribute is not name:kind");
    const size_t equals = item.find('=');
    std::string_view kind_name = item.substr(colon + 1, equals == item.npos ? equals : equals - colon - 1);
    AttributeInfo attribute{std::string(item.substr(0, colon)), Kind::boolean, std::nullopt};
    bool known = false;
    for (auto [name, kind] : kKinds)
      if (name == kind_name) {
        attribute.kind = kind;
        known = true;
      }
    PERI_CHECK(known, "ops.def: no such kind of attribute");
    if (equals != item.npos) attribute.fallback = parse_fallback(attribute.kind, item.substr(equals + 1));
    attributes.push_back(std::move(attribute));
  }
  return attributes;
}

uint32_t traits_of(Family family) {
  switch (family) {
#define PERI_FAMILY(name, Enum, traits) \
  case Family::name:                    \
    return traits;
#include "core/ops/families.def"
  }
  PERI_CHECK(false, "every family is a row");
}

std::vector<OpInfo> build_table() {
  constexpr double kUnit = 1e-6;  // of the tolerance column
  std::vector<OpInfo> table;
  table.reserve(kOpCount);
#define PERI_OP(name, family, min_operands, max_operands, attributes, dtypes, rule, tolerance,     \
                documentation)                                                                     \
  table.push_back({Op::name, #name, Family::family, min_operands, max_operands,                    \
                   parse_attributes(attributes), DTypes::dtypes, #rule, traits_of(Family::family), \
                   (tolerance) * kUnit, documentation, "", ResultDType::same});
#define PERI_POINTWISE(name, arity, attributes, dtypes, result, tolerance, expression, documentation)        \
  table.push_back({Op::name, #name, Family::pointwise, arity, arity, parse_attributes(attributes),           \
                   DTypes::dtypes, "pointwise", kPointwise, (tolerance) * kUnit, documentation, #expression, \
                   ResultDType::result});
#include "core/ops/ops.def"
  return table;
}

const std::vector<OpInfo>& table() {
  static const std::vector<OpInfo> rows = build_table();
  return rows;
}

constexpr bool kPreservesInput = false;
constexpr bool kClobbersInput = true;
constexpr AlgorithmInfo kAlgorithms[] = {
#define PERI_ALGORITHM(op, name, symmetric, effect, end_barrier, documentation) \
  {Op::op, #name, symmetric, effect, end_barrier, documentation},
#include "core/ops/algorithms.def"
};

}  // namespace

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

std::span<const AlgorithmInfo> algorithms() {
  return kAlgorithms;
}

const AlgorithmInfo* find_algorithm(Op op, std::string_view name) {
  for (const AlgorithmInfo& row : kAlgorithms)
    if (row.op == op && row.name == name) return &row;
  return nullptr;
}

}  // namespace peri
