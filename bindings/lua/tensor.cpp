// See tensor.hpp. Every op of the table becomes a function peri.<op>, a method x:<op> where its first operand
// is a tensor, and, where the result can replace the operand, an in-place method x:<op>_.
#include "bindings/lua/tensor.hpp"

#include <fmt/format.h>

#include "bindings/lua/arguments.hpp"
#include "bindings/lua/collector.hpp"
#include "bindings/lua/random.hpp"
#include "bindings/session/print_tensor.hpp"
#include "bindings/session/session.hpp"
#include "core/ops/attributes_of.hpp"
#include "core/ops/collective.hpp"

namespace peri::lua {
namespace {

Op op_of(lua_State* L) {
  return static_cast<Op>(lua_tointeger(L, lua_upvalueindex(1)));
}

Result<std::vector<session::ScriptValue>> apply_from_stack(lua_State* L, Op op, const std::string& name) {
  auto arguments = read_arguments(L, op, 1);
  if (!arguments) return std::unexpected(named(arguments.error(), name));
  if (Status drawn = draw_seed(L, op, arguments->attributes); !drawn)
    return std::unexpected(named(drawn.error(), name));
  return session(L).apply_results(op, arguments->operands, std::move(arguments->attributes), origin(L));
}

// As many values as the op has results.
Result<int> call_op(lua_State* L) {
  const Op op = op_of(L);
  std::vector<session::ScriptValue> results = PERI_TRY(apply_from_stack(L, op, std::string(to_string(op))));
  for (session::ScriptValue& result : results) push_tensor(L, std::move(result));
  return static_cast<int>(results.size());
}

// x:op_(...): the result is written into x.
Result<int> call_op_in_place(lua_State* L) {
  const Op op = op_of(L);
  const std::string name = std::string(to_string(op)) + "_";
  session::ScriptValue* target = PERI_TRY(to_tensor(L, 1, (name + ": the first operand").c_str()));
  const std::vector<session::ScriptValue> results = PERI_TRY(apply_from_stack(L, op, name));
  if (Status s = session(L).assign(*target, results[0], origin(L)); !s)
    return std::unexpected(named(s.error(), name));
  lua_settop(L, 1);
  return 1;
}

// peri.symm.<algorithm>_<op>(x, ...): the op with its algorithm named. Upvalues: op, algorithm, kind of
// writing.
enum class Writes { result, operand, last_argument, symmetric_buffer };

Result<int> call_algorithm(lua_State* L) {
  const Op op = op_of(L);
  const std::string algorithm = lua_tostring(L, lua_upvalueindex(2));
  const auto writes = static_cast<Writes>(lua_tointeger(L, lua_upvalueindex(3)));
  const std::string name = lua_tostring(L, lua_upvalueindex(4));
  session::ScriptValue* out = nullptr;
  if (writes == Writes::operand) out = PERI_TRY(to_tensor(L, 1, (name + ": the operand").c_str()));
  if (writes == Writes::last_argument) {
    if (lua_gettop(L) == 0)
      return fail(Code::InvalidArgument, name + ": the last argument, out, is missing", origin(L));
    out = PERI_TRY(to_tensor(L, lua_gettop(L), (name + ": the last argument, out,").c_str()));
    lua_settop(L, lua_gettop(L) - 1);
  }
  if (writes == Writes::symmetric_buffer) {
    // (symm_buffer, local_input, ...): the input is copied into the buffer first, which then is the operand.
    session::ScriptValue* buffer = PERI_TRY(to_tensor(L, 1, (name + ": the symmetric buffer").c_str()));
    session::ScriptValue* local = PERI_TRY(to_tensor(L, 2, (name + ": the local input").c_str()));
    if (Status s = session(L).assign(*buffer, *local, origin(L)); !s)
      return std::unexpected(named(s.error(), name));
    lua_remove(L, 2);
  }
  auto arguments = read_arguments(L, op, 1);
  if (!arguments) return std::unexpected(named(arguments.error(), name));
  arguments->attributes.set("algorithm", algorithm);
  const session::ScriptValue result =
      PERI_TRY(session(L).apply(op, arguments->operands, std::move(arguments->attributes), origin(L)));
  if (!out) {
    push_tensor(L, result);
    return 1;
  }
  if (Status s = session(L).assign(*out, result, origin(L)); !s)
    return std::unexpected(named(s.error(), name));
  push_tensor(L, *out);
  return 1;
}

Result<kernels::Tensor> eager(lua_State* L, int index, const char* what) {
  session::ScriptValue* value = PERI_TRY(to_tensor(L, index, what));
  if (value->is_symbol())
    return fail(Code::InvalidArgument,
                fmt::format("{}: the values of a symbolic {} are not known while its function is traced",
                            what, value->type().to_string()),
                origin(L), "return the tensor from the compiled function and look at it outside");
  return value->tensor();
}

Result<int> tensor_to_string(lua_State* L) {
  session::ScriptValue* value = PERI_TRY(to_tensor(L, 1, "tostring"));
  std::string text;
  if (value->is_symbol()) {
    text = "[symbolic " + value->type().to_string() + "]";
  } else {
    const kernels::Tensor& t = value->tensor();
    kernels::Tensor copy = PERI_TRY(session(L).readable(t));
    copy.type = t.type;  // the footer names the tensor's own place
    text = session::print_tensor(copy, t.storage->is_symmetric() ? "symmetric" : "");
  }
  lua_pushlstring(L, text.data(), text.size());
  return 1;
}

void push_element(lua_State* L, const kernels::Tensor& t, int64_t i) {
  if (t.type.dtype == DType::boolean)
    lua_pushboolean(L, session::read_element(t, i) != 0);
  else
    lua_pushnumber(L, session::read_element(t, i));
}

Result<int> tensor_item(lua_State* L) {
  const kernels::Tensor t = PERI_TRY(eager(L, 1, "item"));
  if (numel(t.type.shape) != 1)
    return fail(Code::ShapeMismatch, "item: needs one element, this is " + t.type.to_string(), origin(L));
  push_element(L, PERI_TRY(session(L).readable(t)), 0);
  return 1;
}

void push_nested(lua_State* L, const kernels::Tensor& t, int dim, int64_t& next) {
  if (dim == t.type.shape.rank()) return push_element(L, t, next++);
  const auto size = t.type.shape[dim];
  lua_createtable(L, static_cast<int>(size), 0);
  for (int64_t i = 1; i <= size; ++i) {
    push_nested(L, t, dim + 1, next);
    lua_rawseti(L, -2, static_cast<int>(i));
  }
}

Result<int> tensor_totable(lua_State* L) {
  const kernels::Tensor t = PERI_TRY(session(L).readable(PERI_TRY(eager(L, 1, "totable"))));
  int64_t next = 0;
  luaL_checkstack(L, kMaxRank + 2, "tensor too deep");
  push_nested(L, t, 0, next);
  return 1;
}

Result<int> tensor_shape(lua_State* L) {
  session::ScriptValue* value = PERI_TRY(to_tensor(L, 1, "shape"));
  lua_newtable(L);
  for (int i = 0; i < value->type().shape.rank(); ++i) {
    lua_pushnumber(L, static_cast<double>(value->type().shape[i]));
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

Result<int> tensor_size(lua_State* L) {
  session::ScriptValue* value = PERI_TRY(to_tensor(L, 1, "size"));
  if (lua_isnoneornil(L, 2)) return tensor_shape(L);
  const Shape& shape = value->type().shape;
  auto dim = read_position(L, 2, shape.rank(), "dimension", value->type().to_string());
  if (!dim) return std::unexpected(named(std::move(dim).error(), "size"));
  lua_pushnumber(L, static_cast<double>(shape[static_cast<int>(*dim)]));
  return 1;
}

Result<int> tensor_numel(lua_State* L) {
  lua_pushnumber(L, static_cast<double>(numel(PERI_TRY(to_tensor(L, 1, "numel"))->type().shape)));
  return 1;
}
Result<int> tensor_dim(lua_State* L) {
  lua_pushinteger(L, PERI_TRY(to_tensor(L, 1, "dim"))->type().shape.rank());
  return 1;
}
Result<int> tensor_dtype(lua_State* L) {
  lua_pushstring(L, to_string(PERI_TRY(to_tensor(L, 1, "dtype"))->type().dtype));
  return 1;
}
Result<int> tensor_place(lua_State* L) {
  lua_pushstring(L, to_string(PERI_TRY(to_tensor(L, 1, "place"))->type().place));
  return 1;
}
Result<int> tensor_is_symmetric(lua_State* L) {
  session::ScriptValue* value = PERI_TRY(to_tensor(L, 1, "is_symmetric"));
  lua_pushboolean(L, !value->is_symbol() && value->tensor().storage->is_symmetric());
  return 1;
}

// x:to("bf16") casts; x:to("host") and x:to("device") copy between memories.
Result<int> tensor_to(lua_State* L) {
  session::ScriptValue* value = PERI_TRY(to_tensor(L, 1, "to"));
  const std::string word = PERI_TRY(to_text(L, 2, "to: the dtype or place"));
  const Origin here = origin(L);
  const session::ScriptValue operand = *value;
  if (auto place = parse_place(word)) {
    push_tensor(L, operand.type().place == *place
                       ? operand
                       : PERI_TRY(session(L).apply(Op::copy_to, {operand},
                                                   AttributesOf<Op::copy_to>{.place = *place}, here)));
    return 1;
  }
  auto dtype = parse_dtype(word);
  if (!dtype)
    return std::unexpected(unknown(
        "dtype or place", word, {"f32", "f16", "bf16", "i32", "i64", "u8", "bool", "host", "device"}, here));
  push_tensor(L, operand.type().dtype == *dtype
                     ? operand
                     : PERI_TRY(session(L).apply(Op::cast, {operand}, AttributesOf<Op::cast>{.dtype = *dtype},
                                                 here)));
  return 1;
}

// x:copy_(y): y's values into x's memory.
Result<int> tensor_copy(lua_State* L) {
  session::ScriptValue* target = PERI_TRY(to_tensor(L, 1, "copy_: the target"));
  const session::ScriptValue source = *PERI_TRY(to_tensor(L, 2, "copy_: the source"));
  if (Status s = session(L).assign(*target, source, origin(L)); !s)
    return std::unexpected(named(s.error(), "copy_"));
  lua_settop(L, 1);
  return 1;
}

// x:fill_(n): the number n in all of x's memory.
Result<int> tensor_fill(lua_State* L) {
  const session::ScriptValue target = *PERI_TRY(to_tensor(L, 1, "fill_: the target"));
  if (lua_type(L, 2) != LUA_TNUMBER)
    return fail(Code::InvalidArgument, "fill_: takes a number, not " + type_name(L, 2), origin(L));
  const Origin here = origin(L);
  const TensorType type = target.type();
  session::ScriptValue value = PERI_TRY(session(L).apply(
      Op::full, {}, AttributesOf<Op::full>{.shape = {}, .value = lua_tonumber(L, 2), .dtype = type.dtype},
      here));
  if (type.place == Place::host)
    value = PERI_TRY(
        session(L).apply(Op::copy_to, {value}, AttributesOf<Op::copy_to>{.place = type.place}, here));
  value = PERI_TRY(
      session(L).apply(Op::expand, {value},
                       AttributesOf<Op::expand>{.shape = Ints(type.shape.begin(), type.shape.end())}, here));
  if (Status s = session(L).assign(target, value, here); !s)
    return std::unexpected(named(s.error(), "fill_"));
  lua_settop(L, 1);
  return 1;
}

// x[i]: position i of the first dimension (1-based, negative from the end); otherwise a method or a property.
Result<int> tensor_index(lua_State* L) {
  session::ScriptValue* value = PERI_TRY(to_tensor(L, 1, "index"));
  if (lua_type(L, 2) == LUA_TNUMBER) {
    const Shape shape = value->type().shape;
    const int64_t size = shape.rank() ? shape[0] : 0;
    const int64_t at = PERI_TRY(read_position(L, 2, size, "position", value->type().to_string()));
    const Origin here = origin(L);
    session::ScriptValue row = PERI_TRY(session(L).apply(
        Op::slice, {*value}, AttributesOf<Op::slice>{.dim = 0, .start = at, .stop = at + 1}, here));
    push_tensor(L, PERI_TRY(session(L).apply(
                       Op::reshape, {row},
                       AttributesOf<Op::reshape>{.shape = Ints(shape.begin() + 1, shape.end())}, here)));
    return 1;
  }
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  if (!lua_isnil(L, -1)) return 1;
  std::vector<std::string> known;
  lua_pushnil(L);
  while (lua_next(L, lua_upvalueindex(1))) {
    if (lua_type(L, -2) == LUA_TSTRING) known.emplace_back(lua_tostring(L, -2));
    lua_pop(L, 1);
  }
  return std::unexpected(unknown("tensor method", lua_isstring(L, 2) ? lua_tostring(L, 2) : type_name(L, 2),
                                 known, origin(L), "ops"));
}

Result<int> tensor_new_index(lua_State* L) {
  return fail(Code::InvalidArgument, "a tensor's elements can't be assigned with x[i] = y", origin(L),
              "use x:copy_(y), x:index_copy_(dim, index, y) or peri.where");
}

void add_op_function(lua_State* L, Op op, lua_CFunction function, const std::string& name) {
  lua_pushinteger(L, static_cast<int>(op));
  lua_pushcclosure(L, function, 1);
  lua_setfield(L, -2, name.c_str());
}

void add_algorithm(lua_State* L, const AlgorithmInfo& a, Writes writes, const char* suffix) {
  const std::string name = fmt::format("{}_{}{}", a.name, to_string(a.op), suffix);
  lua_pushinteger(L, static_cast<int>(a.op));
  lua_pushlstring(L, a.name.data(), a.name.size());
  lua_pushinteger(L, static_cast<int>(writes));
  lua_pushstring(L, ("symm." + name).c_str());
  lua_pushcclosure(L, wrap<call_algorithm>, 4);
  lua_setfield(L, -2, name.c_str());
}

void register_metatable(lua_State* L) {
  make_metatable<LuaTensor>(L);
  const int meta = lua_gettop(L);
  lua_newtable(L);  // methods
  for (int i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    const OpInfo& row = info(op);
    if (row.has(kInternal) || row.has(kCreation) || row.max_operands < 0) continue;
    add_op_function(L, op, wrap<call_op>, std::string(row.name));
    if (has_in_place_form(op)) add_op_function(L, op, wrap<call_op_in_place>, std::string(row.name) + "_");
  }
  const std::vector<Method> own = {
      {"item", wrap<tensor_item>},   {"totable", wrap<tensor_totable>},
      {"shape", wrap<tensor_shape>}, {"size", wrap<tensor_size>},
      {"numel", wrap<tensor_numel>}, {"dim", wrap<tensor_dim>},
      {"dtype", wrap<tensor_dtype>}, {"place", wrap<tensor_place>},
      {"to", wrap<tensor_to>},       {"copy_", wrap<tensor_copy>},
      {"fill_", wrap<tensor_fill>},  {"is_symmetric", wrap<tensor_is_symmetric>},
  };
  for (const Method& m : own) {
    lua_pushcfunction(L, m.function);
    lua_setfield(L, -2, m.name);
  }
  for (auto [alias, name] : kMethodAliases) {
    lua_getfield(L, -1, name);
    lua_setfield(L, -2, alias);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, meta, "methods");  // for the standard library, which adds the ones written in Lua
  lua_pushcclosure(L, wrap<tensor_index>, 1);
  lua_setfield(L, meta, "__index");
  for (auto [event, op] : {std::pair{"__add", Op::add},
                           {"__sub", Op::sub},
                           {"__mul", Op::mul},
                           {"__div", Op::div},
                           {"__mod", Op::mod},
                           {"__pow", Op::pow}})
    add_op_function(L, op, wrap<call_op>, event);
  lua_settop(L, meta);
  auto unary_minus = [](lua_State* state) {
    lua_settop(state, 1);  // Lua passes the operand twice
    return wrap<call_op>(state);
  };
  lua_pushinteger(L, static_cast<int>(Op::neg));
  lua_pushcclosure(L, +unary_minus, 1);
  lua_setfield(L, meta, "__unm");
  lua_pushcfunction(L, wrap<tensor_to_string>);
  lua_setfield(L, meta, "__tostring");
  lua_pushcfunction(L, wrap<tensor_new_index>);
  lua_setfield(L, meta, "__newindex");
  lua_pushcfunction(L, collect<LuaTensor>);
  lua_setfield(L, meta, "__gc");
  lock_metatable(L);
  lua_pop(L, 1);
}

}  // namespace

bool has_in_place_form(Op op) {
  const bool communicates =
      info(op).has(kCollective) && collective_info(op).has_choice() && collective_info(op).is_elementwise();
  return info(op).has(kPointwise) || info(op).family == Family::scatter || op == Op::masked_fill ||
         op == Op::rope || communicates;
}

void push_tensor(lua_State* L, session::ScriptValue value) {
  collector(L).hand_out(L, value);
  push<LuaTensor>(L, std::move(value));
}

Result<session::ScriptValue*> to_tensor(lua_State* L, int index, const char* what) {
  if (auto* tensor = test<LuaTensor>(L, index)) return &tensor->value;
  return fail(Code::InvalidArgument, fmt::format("{} must be a tensor, not {}", what, type_name(L, index)),
              origin(L));
}

Result<Group> to_group(lua_State* L, int index) {
  if (auto* group = test<LuaGroup>(L, index)) return group->group;
  if (!lua_istable(L, index))
    return fail(Code::InvalidArgument, fmt::format("group must be a group, not {}", type_name(L, index)),
                origin(L), "make one with peri.group{0, 1} or peri.mesh{...}");
  Group group;
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, index)); ++i) {
    lua_rawgeti(L, index, i);
    auto number = to_integer(L, -1, "group: a rank");
    lua_pop(L, 1);
    const int64_t rank = PERI_TRY(number);
    if (rank < 0 || rank >= session(L).world_size())
      return fail(Code::InvalidArgument,
                  fmt::format("group: no rank {}; ranks are 0-based and this world has {}", rank,
                              session(L).world_size()),
                  origin(L));
    if (group.index_of(static_cast<int>(rank)) >= 0)
      return fail(Code::InvalidArgument, fmt::format("group: rank {} is named twice", rank), origin(L));
    group.ranks.push_back(static_cast<int>(rank));
  }
  if (group.ranks.empty()) return fail(Code::InvalidArgument, "group: needs at least one rank", origin(L));
  return group;
}

void register_tensor(lua_State* L) {
  register_metatable(L);
  for (int i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    if (!info(op).has(kInternal)) add_op_function(L, op, wrap<call_op>, std::string(info(op).name));
  }
  lua_newtable(L);  // peri.symm
  for (const AlgorithmInfo& a : algorithms()) {
    if (!collective_info(a.op).has_choice()) continue;
    add_algorithm(L, a, Writes::result, "");
    add_algorithm(L, a, Writes::last_argument, "_out");
    if (has_in_place_form(a.op)) add_algorithm(L, a, Writes::operand, "_");
    if (a.symmetric == kInput && !a.clobbers_input) add_algorithm(L, a, Writes::symmetric_buffer, "_copy");
  }
  lua_setfield(L, -2, "symm");
}

}  // namespace peri::lua
