// See arguments.hpp.
#include "bindings/lua/arguments.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bindings/lua/tensor.hpp"
#include "bindings/session/session.hpp"
#include "core/ops/attributes_of.hpp"
#include "core/ops/collective.hpp"

namespace peri::lua {
namespace {

bool is_list_kind(Kind kind) {
  return kind == Kind::ints || kind == Kind::shape || kind == Kind::dims;
}

// 1-based to 0-based; negative counts from the end and stays negative for `complete`; 0 is nobody's
// dimension.
Result<int64_t> read_dim(lua_State* L, int index, const std::string& what) {
  const int64_t dim = PERI_TRY(to_integer(L, index, what.c_str()));
  if (dim == 0)
    return fail(Code::InvalidArgument, what + " is 0, but dimensions and positions are 1-based", origin(L));
  return dim > 0 ? dim - 1 : dim;
}

Result<Ints> read_list(lua_State* L, int index, Kind kind, const std::string& name) {
  Ints list;
  const int count = static_cast<int>(lua_objlen(L, index));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, index, i);
    auto item = kind == Kind::dims ? read_dim(L, -1, name) : to_integer(L, -1, name.c_str());
    lua_pop(L, 1);
    list.push_back(PERI_TRY(item));
  }
  return list;
}

template <class T>
Result<AttributeValue> as_attribute(Result<T> value) {
  if (!value) return std::unexpected(std::move(value).error());
  return Result<AttributeValue>(std::in_place, std::move(*value));
}

Status read_into(lua_State* L, int index, const AttributeInfo& a, Attributes& into) {
  auto value = read_attribute(L, index, a);
  if (!value) return std::unexpected(std::move(value).error());
  into.set(a.name, std::move(*value));
  return {};
}

bool has_named_fields(lua_State* L, int index) {
  if (!lua_istable(L, index)) return false;
  bool named = false;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    named = named || lua_type(L, -2) == LUA_TSTRING;
    lua_pop(L, 1);
  }
  return named;
}

Status read_named(lua_State* L, int index, Op op, Attributes& into) {
  const OpInfo& row = info(op);
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      return fail(Code::InvalidArgument, "an options table has named fields only", origin(L));
    const std::string name = lua_tostring(L, -2);
    auto found = std::find_if(row.attributes.begin(), row.attributes.end(),
                              [&](const auto& a) { return a.name == name; });
    if (found == row.attributes.end()) {
      std::vector<std::string> names;
      for (const auto& a : row.attributes) names.push_back(a.name);
      return std::unexpected(unknown("option", name, names, origin(L)));
    }
    PERI_TRY(read_into(L, lua_gettop(L), *found, into));
    lua_pop(L, 1);
  }
  return {};
}

// Whether numbers in a row may spell the attribute (x:reshape(2, 3)). Of several lists of plain numbers each
// is one argument (x:conv2d(w, nil, 2, 1)).
bool may_be_spelled(const OpInfo& row, const AttributeInfo& a) {
  return is_list_kind(a.kind) && (a.kind != Kind::ints || row.attributes.size() == 1);
}

// Attributes by position.
Status read_positional(lua_State* L, int first, int last, Op op, Attributes& into) {
  const OpInfo& row = info(op);
  size_t next = 0;
  for (int i = first; i <= last; ++i) {
    if (next >= row.attributes.size())
      return fail(Code::InvalidArgument,
                  last == i ? fmt::format("one argument too many: {}", type_name(L, i))
                            : fmt::format("{} arguments too many, from {} on", last - i + 1, type_name(L, i)),
                  origin(L));
    const AttributeInfo& a = row.attributes[next++];
    if (lua_isnil(L, i)) continue;
    if (may_be_spelled(row, a) && lua_type(L, i) == LUA_TNUMBER) {
      lua_newtable(L);
      int count = 0;
      for (; i <= last && lua_type(L, i) == LUA_TNUMBER; ++i) {
        lua_pushvalue(L, i);
        lua_rawseti(L, -2, ++count);
      }
      --i;
      PERI_TRY(read_into(L, lua_gettop(L), a, into));
      lua_pop(L, 1);
      continue;
    }
    PERI_TRY(read_into(L, i, a, into));
  }
  return {};
}

Result<int> read_operands(lua_State* L, Op op, int first, std::vector<session::Argument>& operands) {
  const OpInfo& row = info(op);
  int i = first;
  if (row.max_operands < 0) {
    if (!lua_istable(L, i))
      return fail(Code::InvalidArgument, fmt::format("takes a table of tensors, not {}", type_name(L, i)),
                  origin(L));
    const int count = static_cast<int>(lua_objlen(L, i));
    for (int k = 1; k <= count; ++k) {
      lua_rawgeti(L, i, k);
      auto value = to_tensor(L, -1, fmt::format("item {}", k).c_str());
      lua_pop(L, 1);
      operands.emplace_back(*PERI_TRY(value));
    }
    return i + 1;
  }
  for (; static_cast<int>(operands.size()) < row.max_operands; ++i) {
    const bool required = static_cast<int>(operands.size()) < row.min_operands;
    if (auto* tensor = test<LuaTensor>(L, i)) {
      operands.emplace_back(tensor->value);
    } else if (required && row.has(kPointwise) && lua_type(L, i) == LUA_TNUMBER) {
      operands.emplace_back(lua_tonumber(L, i));
    } else if (required && row.has(kPointwise) && lua_isboolean(L, i)) {
      operands.emplace_back(lua_toboolean(L, i) ? 1.0 : 0.0);
    } else if (required) {
      return fail(Code::InvalidArgument,
                  lua_isnone(L, i) ? fmt::format("operand {} is missing", i - first + 1)
                                   : fmt::format("operand {} must be a tensor{}, not {}", i - first + 1,
                                                 row.has(kPointwise) ? " or a number" : "", type_name(L, i)),
                  origin(L));
    } else {
      if (lua_isnil(L, i) && i <= lua_gettop(L)) ++i;  // an optional operand given as nil
      break;
    }
  }
  return i;
}

}  // namespace

Result<AttributeValue> read_attribute(lua_State* L, int index, const AttributeInfo& a) {
  const char* name = a.name.c_str();
  auto wrong = [&](const char* wanted) {
    return fail(Code::InvalidArgument,
                fmt::format("{} must be {}, not {}", a.name, wanted, type_name(L, index)), origin(L));
  };
  switch (a.kind) {
    case Kind::boolean:
      if (!lua_isboolean(L, index)) return wrong("true or false");
      return AttributeValue(lua_toboolean(L, index) != 0);
    case Kind::integer:
      return as_attribute(to_integer(L, index, name));
    case Kind::number:
      return as_attribute(to_number(L, index, name));
    case Kind::string:
      return as_attribute(to_text(L, index, name));
    case Kind::ints:
    case Kind::shape:
    case Kind::dims:
      if (lua_type(L, index) == LUA_TNUMBER && a.kind == Kind::dims) {
        const int64_t dim = PERI_TRY(read_dim(L, index, a.name));
        return Result<AttributeValue>(std::in_place, Ints(1, dim));
      }
      if (lua_type(L, index) == LUA_TNUMBER && a.kind == Kind::ints) {
        const int64_t number = PERI_TRY(to_integer(L, index, name));
        return Result<AttributeValue>(std::in_place, Ints(1, number));
      }
      if (!lua_istable(L, index)) return wrong("a table of whole numbers");
      return as_attribute(read_list(L, index, a.kind, a.name));
    case Kind::dim:
    case Kind::index:
      return as_attribute(read_dim(L, index, a.name));
    case Kind::dtype:
      return as_attribute(parse_dtype(PERI_TRY(to_text(L, index, name))));
    case Kind::place:
      return as_attribute(parse_place(PERI_TRY(to_text(L, index, name))));
    case Kind::group:
      return as_attribute(to_group(L, index));
    case Kind::reduce: {
      const std::string word = PERI_TRY(to_text(L, index, name));
      PERI_TRY(parse_reduce(word));
      return AttributeValue(word);
    }
  }
  return wrong("of a known kind");
}

Result<int64_t> read_position(lua_State* L, int index, int64_t size, const char* what,
                              const std::string& where) {
  const int64_t position = PERI_TRY(to_integer(L, index, what));
  if (position == 0 || position > size || position < -size)
    return fail(Code::InvalidArgument,
                fmt::format("no {0} {1} in {2} ({0}s are 1-based)", what, position, where), origin(L));
  return position > 0 ? position - 1 : size + position;
}

Status check_algorithm(Op op, const std::string& name, const Origin& origin) {
  if (name.empty() || find_algorithm(op, name)) return {};
  const std::vector<std::string> names = algorithm_names(op);
  Error error = unknown(fmt::format("algorithm of {}", to_string(op)), name, names, origin);
  if (error.hint.empty()) error.hint = fmt::format("it has {}", fmt::join(names, ", "));
  return std::unexpected(std::move(error));
}

// One number per dimension.
static Result<Ints> read_per_dim(lua_State* L, int index, const char* what) {
  if (!lua_istable(L, index))
    return fail(Code::InvalidArgument,
                fmt::format("{} must be a table of whole numbers, not {}", what, type_name(L, index)),
                origin(L));
  Ints list = PERI_TRY(read_list(L, index, Kind::shape, what));
  if (list.size() > kMaxRank)
    return fail(Code::InvalidArgument,
                fmt::format("{} has {} dimensions; at most {} are supported", what, list.size(), kMaxRank),
                origin(L));
  return list;
}

Result<Shape> read_shape(lua_State* L, int index, const char* what) {
  const Shape shape(PERI_TRY(read_per_dim(L, index, what)));
  PERI_TRY(checked_numel(shape));
  return shape;
}

Result<Strides> read_strides(lua_State* L, int index, const char* what) {
  return Strides(PERI_TRY(read_per_dim(L, index, what)));
}

Result<OpArguments> read_arguments(lua_State* L, Op op, int first) {
  OpArguments result;
  const OpInfo& row = info(op);
  // Torch's order for lookups: x:index_select(dim, index), x:index_copy_(dim, index, source).
  if (row.min_operands > 1 && !row.attributes.empty() && row.attributes[0].kind == Kind::dim &&
      lua_type(L, first + 1) == LUA_TNUMBER) {
    PERI_TRY(read_into(L, first + 1, row.attributes[0], result.attributes));
    lua_remove(L, first + 1);
  }
  const int next = PERI_TRY(read_operands(L, op, first, result.operands));
  int last = lua_gettop(L);
  if (last >= next && has_named_fields(L, last)) {
    PERI_TRY(read_named(L, last, op, result.attributes));
    --last;
  }
  PERI_TRY(read_positional(L, next, last, op, result.attributes));
  for (const AttributeInfo& a : row.attributes)
    if (a.kind == Kind::group && !result.attributes.find(a.name))
      result.attributes.set(a.name, session(L).world());
  if (const std::optional<std::string> algorithm = result.attributes.find<"algorithm">())
    PERI_TRY(check_algorithm(op, *algorithm, origin(L)));
  if (op == Op::slice) {  // x:slice(dim) is all of it, x:slice(dim, 2) all from the second on
    if (!result.attributes.find("start")) result.attributes.set("start", int64_t{0});
    if (!result.attributes.find("stop")) result.attributes.set("stop", int64_t{-1});
  }
  return result;
}

}  // namespace peri::lua
