// See module.hpp.
#include "bindings/lua/module.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "bindings/compiled/compile.hpp"
#include "bindings/lua/arguments.hpp"
#include "bindings/lua/random.hpp"
#include "bindings/lua/tensor.hpp"
#include "bindings/manual/manual.hpp"
#include "bindings/session/print_tensor.hpp"
#include "bindings/session/session.hpp"
#include "core/ops/attributes_of.hpp"

namespace peri::lua {
namespace {

// --- groups ---

Result<int> make_group(lua_State* L) {
  if (!lua_istable(L, 1))
    return fail(Code::InvalidArgument, "group: takes a table of ranks, not " + type_name(L, 1), origin(L));
  push<LuaGroup>(L, PERI_TRY(to_group(L, 1)));
  return 1;
}

Result<LuaGroup*> self_group(lua_State* L) {
  if (auto* g = test<LuaGroup>(L, 1)) return g;
  return fail(Code::InvalidArgument, "called on " + type_name(L, 1) + ", not on a group", origin(L));
}
// Properties: g.size, g.index (this rank's 0-based position, nil if it is not a member), g.ranks.
Result<int> group_index(lua_State* L) {
  LuaGroup* g = PERI_TRY(self_group(L));
  const std::string field = lua_isstring(L, 2) ? lua_tostring(L, 2) : type_name(L, 2);
  if (field == "size") {
    lua_pushinteger(L, g->group.size());
  } else if (field == "index") {
    const int index = g->group.index_of(session(L).rank());
    index < 0 ? lua_pushnil(L) : lua_pushinteger(L, index);
  } else if (field == "ranks") {
    lua_newtable(L);
    for (int i = 0; i < g->group.size(); ++i) {
      lua_pushinteger(L, g->group.ranks[static_cast<size_t>(i)]);
      lua_rawseti(L, -2, i + 1);
    }
  } else {
    return std::unexpected(unknown("field of a group", field, {"size", "index", "ranks"}, origin(L)));
  }
  return 1;
}
Result<int> group_to_string(lua_State* L) {
  lua_pushstring(L, ("group " + PERI_TRY(self_group(L))->group.to_string()).c_str());
  return 1;
}
Result<int> group_equal(lua_State* L) {
  auto *a = test<LuaGroup>(L, 1), *b = test<LuaGroup>(L, 2);
  lua_pushboolean(L, a && b && a->group == b->group);
  return 1;
}

// peri.mesh{{"dp", 2}, {"tp", 2}}: ranks laid out with the last axis fastest; mesh.tp is this rank's group
// along tp. Written as {dp = 2, tp = 2}, the axes stand in alphabetical order.
Result<int> make_mesh(lua_State* L) {
  if (!lua_istable(L, 1))
    return fail(Code::InvalidArgument, "mesh: takes a table of axes, not " + type_name(L, 1), origin(L));
  std::vector<std::pair<std::string, int64_t>> axes;
  const int listed = static_cast<int>(lua_objlen(L, 1));
  for (int i = 1; i <= listed; ++i) {
    lua_rawgeti(L, 1, i);
    if (!lua_istable(L, -1)) return fail(Code::InvalidArgument, "mesh: an axis is {name, size}", origin(L));
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    axes.emplace_back(PERI_TRY(to_text(L, -2, "mesh: an axis' name")),
                      PERI_TRY(to_integer(L, -1, "mesh: an axis' size")));
    lua_pop(L, 3);
  }
  if (!listed) {
    lua_pushnil(L);
    while (lua_next(L, 1)) {
      axes.emplace_back(PERI_TRY(to_text(L, -2, "mesh: an axis' name")),
                        PERI_TRY(to_integer(L, -1, "mesh: an axis' size")));
      lua_pop(L, 1);
    }
    std::sort(axes.begin(), axes.end());
  }
  int64_t product = 1;
  for (const auto& [name, size] : axes) {
    if (size < 1 || size > session(L).world_size())
      return fail(Code::InvalidArgument,
                  fmt::format("mesh: axis '{}' has size {}, and this world has {} ranks", name, size,
                              session(L).world_size()),
                  origin(L));
    product *= size;
  }
  if (product != session(L).world_size())
    return fail(
        Code::InvalidArgument,
        fmt::format("mesh: the axes hold {} ranks, the world has {}", product, session(L).world_size()),
        origin(L));
  lua_newtable(L);
  int64_t stride = product;
  for (const auto& [name, size] : axes) {
    stride /= size;
    const int64_t rank = session(L).rank(), along = rank / stride % size;
    Group group;
    for (int64_t i = 0; i < size; ++i) group.ranks.push_back(static_cast<int>(rank + (i - along) * stride));
    push<LuaGroup>(L, std::move(group));
    lua_setfield(L, -2, name.c_str());
  }
  return 1;
}

// --- tensors ---

// The shape of nested tables, from their first items.
Result<Shape> nested_shape(lua_State* L, int index) {
  Shape shape;
  lua_pushvalue(L, index);
  int pushed = 1;
  while (lua_istable(L, -1)) {
    if (shape.rank() == kMaxRank)
      return fail(Code::InvalidArgument, "tensor: tables nested more than 8 deep", origin(L));
    shape.push_back(static_cast<int64_t>(lua_objlen(L, -1)));
    lua_rawgeti(L, -1, 1);
    ++pushed;
  }
  lua_pop(L, pushed);
  return shape;
}

Status fill_nested(lua_State* L, const kernels::Tensor& t, int dim, int64_t& next) {
  const Shape& shape = t.type.shape;
  if (dim == shape.rank()) {
    double value = lua_toboolean(L, -1);
    if (!lua_isboolean(L, -1)) value = PERI_TRY(to_number(L, -1, "tensor: an element"));
    if (is_integer(t.type.dtype) && !holds(t.type.dtype, value))
      return fail(Code::InvalidArgument,
                  fmt::format("tensor: {} cannot hold the element {}", to_string(t.type.dtype), value),
                  origin(L));
    session::write_element(t, next++, value);
    return {};
  }
  if (!lua_istable(L, -1) || static_cast<int64_t>(lua_objlen(L, -1)) != shape[dim])
    return fail(Code::ShapeMismatch,
                fmt::format("tensor: the nested tables differ in length or depth (dim {} should have {})",
                            dim + 1, shape[dim]),
                origin(L));
  for (int64_t i = 1; i <= shape[dim]; ++i) {
    lua_rawgeti(L, -1, static_cast<int>(i));
    PERI_TRY(fill_nested(L, t, dim + 1, next));
    lua_pop(L, 1);
  }
  return {};
}

bool first_is_boolean(lua_State* L, int index) {
  lua_pushvalue(L, index);
  int pushed = 1;
  for (; lua_istable(L, -1); ++pushed) lua_rawgeti(L, -1, 1);
  const bool result = lua_isboolean(L, -1);
  lua_pop(L, pushed);
  return result;
}

Result<DType> dtype_option(lua_State* L, int index, const char* function, DType fallback) {
  if (lua_isnoneornil(L, index)) return fallback;
  if (!lua_istable(L, index))
    return fail(Code::InvalidArgument,
                fmt::format("{}: options must be a table, not {}", function, type_name(L, index)), origin(L));
  lua_pushnil(L);
  while (lua_next(L, index)) {
    const std::string field = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : type_name(L, -2);
    if (field == "dtype") {
      auto dtype = parse_dtype(PERI_TRY(to_text(L, -1, fmt::format("{}: dtype", function).c_str())));
      if (!dtype) return std::unexpected(named(std::move(dtype).error(), function));
      fallback = *dtype;
    } else if (field != "group") {
      return std::unexpected(named(unknown("option", field, {"dtype", "group"}, origin(L)), function));
    }
    lua_pop(L, 1);
  }
  return fallback;
}

// peri.tensor({{1, 2}, {3, 4}}, {dtype = "f32"}): from nested tables, or from one number.
Result<int> make_tensor(lua_State* L) {
  if (lua_isnoneornil(L, 1))
    return fail(Code::InvalidArgument, "tensor: takes a number or nested tables, not nil", origin(L));
  const DType dtype =
      PERI_TRY(dtype_option(L, 2, "tensor", first_is_boolean(L, 1) ? DType::boolean : DType::f32));
  const Shape shape = PERI_TRY(nested_shape(L, 1));
  session::Session& s = session(L);
  kernels::Tensor host = PERI_TRY(s.empty({dtype, shape, Place::host}));
  int64_t next = 0;
  lua_pushvalue(L, 1);
  PERI_TRY(fill_nested(L, host, 0, next));
  kernels::Tensor device = PERI_TRY(s.empty({dtype, shape, Place::device}));
  PERI_TRY(s.backend().copy(operand_of(host), operand_of(device)));
  push_tensor(L, {std::move(device), origin(L)});
  return 1;
}

// peri.symm.empty(shape, {dtype = "f32", group = g}): zeros in symmetric memory; every member of the group
// calls it.
Result<int> make_symmetric(lua_State* L) {
  const Shape shape = PERI_TRY(read_shape(L, 1, "symm.empty: shape"));
  const DType dtype = PERI_TRY(dtype_option(L, 2, "symm.empty", DType::f32));
  Group group = session(L).world();
  if (lua_istable(L, 2)) {
    lua_getfield(L, 2, "group");
    if (!lua_isnil(L, -1)) group = PERI_TRY(to_group(L, lua_gettop(L)));
    lua_pop(L, 1);
  }
  if (session(L).trace())
    return fail(Code::Unsupported,
                "symm.empty: symmetric memory can't be allocated inside a compiled function", origin(L),
                "allocate it before and pass it as an argument; the planner allocates its own");
  push_tensor(L, {PERI_TRY(session(L).empty_symmetric({dtype, shape, Place::device}, group)), origin(L)});
  return 1;
}

Result<int> make_zeros(lua_State* L) {
  const double value = lua_tonumber(L, lua_upvalueindex(1));
  const std::string name = value == 0 ? "zeros" : "ones";
  const Shape shape = PERI_TRY(read_shape(L, 1, (name + ": shape").c_str()));
  const DType dtype = PERI_TRY(dtype_option(L, 2, name.c_str(), DType::f32));
  push_tensor(
      L,
      PERI_TRY(session(L).apply(
          Op::full, {},
          AttributesOf<Op::full>{.shape = Ints(shape.begin(), shape.end()), .value = value, .dtype = dtype},
          origin(L))));
  return 1;
}

// A barrier has no data of its own: peri.barrier() or peri.barrier(group).
Result<int> barrier(lua_State* L) {
  Group group = session(L).world();
  if (!lua_isnoneornil(L, 1)) group = PERI_TRY(to_group(L, 1));
  const Origin here = origin(L);
  session::ScriptValue token =
      PERI_TRY(session(L).apply(Op::full, {}, AttributesOf<Op::full>{.shape = {}, .value = 0}, here));
  PERI_TRY(session(L).apply(Op::barrier, {token}, AttributesOf<Op::barrier>{.group = group}, here));
  if (!session(L).trace())
    PERI_TRY(session(L).backend().synchronize());  // passed means passed, on a device too
  return 0;
}

// After an error that a script has caught: all ranks call it, and what they do together works again. Whoever
// still waits for this rank is given an error by it, so that it comes here, too.
Result<int> recover(lua_State* L) {
  if (session(L).trace())
    return fail(Code::Unsupported, "recover: a compiled function can't recover", origin(L),
                "call it outside, on all ranks, when pcall has caught the error");
  if (Status recovered = session(L).backend().recover(); !recovered) {
    recovered.error().where = origin(L);
    return std::unexpected(std::move(recovered).error());
  }
  return 0;
}

Result<int> clock_seconds(lua_State* L) {
  PERI_TRY(session(L).backend().synchronize());
  const std::chrono::duration<double> now = std::chrono::steady_clock::now().time_since_epoch();
  lua_pushnumber(L, now.count());
  return 1;
}

Result<int> help(lua_State* L) {
  const std::string name = lua_isnoneornil(L, 1) ? "guide" : PERI_TRY(to_text(L, 1, "help: the name"));
  const std::string text = PERI_TRY(manual::manual(name));
  lua_pushlstring(L, text.data(), text.size());
  return 1;
}

// Upvalue: the module's name.
Result<int> module_index(lua_State* L) {
  std::vector<std::string> known;
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING) known.emplace_back(lua_tostring(L, -2));
    lua_pop(L, 1);
  }
  const std::string name = lua_tostring(L, lua_upvalueindex(1));
  return std::unexpected(unknown("field of " + name,
                                 lua_isstring(L, 2) ? lua_tostring(L, 2) : type_name(L, 2), known, origin(L),
                                 name == "peri.symm" ? "symm" : "index"));
}

void set_function(lua_State* L, const char* name, lua_CFunction function) {
  lua_pushcfunction(L, function);
  lua_setfield(L, -2, name);
}

// Unknown fields of this table are errors with the nearest name.
void make_strict(lua_State* L, const char* name) {
  lua_newtable(L);
  lua_pushstring(L, name);
  lua_pushcclosure(L, wrap<module_index>, 1);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

}  // namespace

void push_module(lua_State* L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "peri.module");
  if (!lua_isnil(L, -1)) return;
  lua_pop(L, 1);

  register_type<LuaGroup>(
      L,
      {{"__index", wrap<group_index>}, {"__tostring", wrap<group_to_string>}, {"__eq", wrap<group_equal>}});
  lua_newtable(L);
  register_tensor(L);
  compiled::register_compile(L);
  register_files(L);
  lua_pushinteger(L, session(L).rank());
  lua_setfield(L, -2, "rank");
  lua_pushinteger(L, session(L).world_size());
  lua_setfield(L, -2, "world_size");
  lua_pushstring(L, session(L).backend().name().c_str());
  lua_setfield(L, -2, "backend");
  push<LuaGroup>(L, session(L).world());
  lua_setfield(L, -2, "world");
  for (auto [name, value] : {std::pair{"zeros", 0}, {"ones", 1}}) {
    lua_pushinteger(L, value);
    lua_pushcclosure(L, wrap<make_zeros>, 1);
    lua_setfield(L, -2, name);
  }
  set_function(L, "group", wrap<make_group>);
  set_function(L, "mesh", wrap<make_mesh>);
  set_function(L, "tensor", wrap<make_tensor>);
  set_function(L, "barrier", wrap<barrier>);
  set_function(L, "clock", wrap<clock_seconds>);
  set_function(L, "recover", wrap<recover>);
  set_function(L, "help", wrap<help>);
  set_function(L, "seed", wrap<set_seed>);
  push_metatable<LuaTensor>(L);
  lua_getfield(L, -1, "methods");
  lua_setfield(L, -3, "methods");  // scripts/peri/init.lua adds to it
  lua_pop(L, 1);
  lua_getfield(L, -1, "symm");
  set_function(L, "empty", wrap<make_symmetric>);
  register_signals(L);
  make_strict(L, "peri.symm");
  lua_pop(L, 1);
  make_strict(L, "peri");
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, "peri.module");
}

}  // namespace peri::lua
