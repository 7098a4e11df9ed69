// See captures.hpp.
#include "bindings/compiled/captures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "bindings/compiled/function.hpp"
#include "bindings/lua/tensor.hpp"

namespace peri::lua::compiled {
namespace {

uint64_t bits_at(lua_State* L, int index, int type) {
  switch (type) {
    case LUA_TNIL:
      return 0;
    case LUA_TBOOLEAN:
      return static_cast<uint64_t>(lua_toboolean(L, index));
    case LUA_TNUMBER:
      return std::bit_cast<uint64_t>(lua_tonumber(L, index));
    case LUA_TSTRING:  // equal strings have one address
      return std::bit_cast<uintptr_t>(lua_tostring(L, index));
    default:
      return std::bit_cast<uintptr_t>(lua_topointer(L, index));
  }
}

// The tensor there if it has memory.
const session::ScriptValue* tensor_at(lua_State* L, int index) {
  const auto* tensor = test<LuaTensor>(L, index);
  return tensor && !tensor->value.is_symbol() ? &tensor->value : nullptr;
}

bool same_type(const session::ScriptValue& a, const session::ScriptValue& b) {
  return a.type() == b.type() && a.tensor().storage->allocator() == b.tensor().storage->allocator();
}

// The value, as errors show it.
std::string text_of(lua_State* L, int index) {
  if (const auto* tensor = tensor_at(L, index)) return tensor->type().to_string();
  switch (lua_type(L, index)) {
    case LUA_TNUMBER:
      return fmt::format("{}", lua_tonumber(L, index));
    case LUA_TSTRING:
      return fmt::format("\"{}\"", std::string(lua_tostring(L, index)).substr(0, 40));
    default:
      return type_name(L, index);
  }
}

// A Lua function has at most so many upvalues.
constexpr int kMaxUpvalues = 60;

// Pushes a function with upvalues of its own that returns them all. Reading many at once is faster than by
// lua_getupvalue, which looks for each one's name.
Status push_reader(lua_State* L, int count) {
  std::string names;
  for (int i = 1; i <= count; ++i) names += fmt::format("{}v{}", i == 1 ? "" : ",", i);
  const std::string text = fmt::format("local {0} return function() return {0} end", names);
  if (luaL_loadbuffer(L, text.data(), text.size(), "=peri/captures") != 0)
    return std::unexpected(take_error(L));
  lua_call(L, 0, 1);
  return {};
}

}  // namespace

Captures::Captures(Captures&& other) noexcept
    : lua_(other.lua_),
      functions_(std::exchange(other.functions_, LUA_NOREF)),
      values_(std::exchange(other.values_, LUA_NOREF)),
      function_count_(other.function_count_),
      captured_(std::move(other.captured_)),
      readers_(std::exchange(other.readers_, {})),
      symbols_(std::move(other.symbols_)) {}

Captures::~Captures() {
  luaL_unref(lua_, LUA_REGISTRYINDEX, functions_);
  luaL_unref(lua_, LUA_REGISTRYINDEX, values_);
  for (const int reader : readers_) luaL_unref(lua_, LUA_REGISTRYINDEX, reader);
}

// --- what is captured ---

Result<Captures> Captures::take(lua_State* L, int function, const ReplacedTensors& replaced) {
  luaL_checkstack(L, 8, "too many values");
  lua_newtable(L);
  const int functions = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_newtable(L);
  const int values = luaL_ref(L, LUA_REGISTRYINDEX);
  Captures captures(L, functions, values);
  std::set<const void*> seen;      // functions and cells
  const auto add_function = [&] {  // the one at the stack's top, which is popped
    if (lua_iscfunction(L, -1) || !seen.insert(lua_topointer(L, -1)).second) return lua_pop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, functions);
    lua_insert(L, -2);
    lua_rawseti(L, -2, ++captures.function_count_);
    lua_pop(L, 1);
  };
  lua_rawgeti(L, LUA_REGISTRYINDEX, function);
  add_function();
  size_t looked_at = 0;
  for (int i = 1; i <= captures.function_count_; ++i) {
    captures.take_upvalues(L, i, replaced, seen);
    lua_rawgeti(L, LUA_REGISTRYINDEX, values);
    for (; looked_at < captures.captured_.size(); ++looked_at) {
      lua_rawgeti(L, -1, static_cast<int>(looked_at) + 1);
      if (const auto* compiled = test<LuaCompiled>(L, -1)) {
        lua_pop(L, 1);
        lua_rawgeti(L, LUA_REGISTRYINDEX, compiled->function);
      }
      lua_isfunction(L, -1) ? add_function() : lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  PERI_TRY(captures.make_readers(L));
  return captures;
}

void Captures::take_upvalues(lua_State* L, int function, const ReplacedTensors& replaced,
                             std::set<const void*>& seen) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, values_);
  lua_rawgeti(L, LUA_REGISTRYINDEX, functions_);
  lua_rawgeti(L, -1, function);
  for (int i = 1; const char* name = lua_getupvalue(L, -1, i); ++i) {
    const void* cell = lua_upvalueid(L, -2, i);
    if (!seen.insert(cell).second) {
      lua_pop(L, 1);
      continue;
    }
    const int type = lua_type(L, -1);
    const bool is_input = tensor_at(L, -1) && replaced.contains(cell);
    captured_.push_back({name, function, i, cell, type, bits_at(L, -1, type), is_input});
    lua_rawseti(L, -4, static_cast<int>(captured_.size()));
  }
  lua_pop(L, 3);
}

Status Captures::make_readers(lua_State* L) {
  const auto count = static_cast<int>(captured_.size());
  lua_rawgeti(L, LUA_REGISTRYINDEX, functions_);
  const int functions = lua_gettop(L);
  for (int first = 0; first < count; first += kMaxUpvalues) {
    const int some = std::min(count - first, kMaxUpvalues);
    PERI_TRY(push_reader(L, some));
    for (int i = 0; i < some; ++i) {
      const Captured& c = captured_[static_cast<size_t>(first + i)];
      lua_rawgeti(L, functions, c.function);
      lua_upvaluejoin(L, functions + 1, i + 1, functions + 2, c.upvalue);
      lua_pop(L, 1);
    }
    readers_.push_back(luaL_ref(L, LUA_REGISTRYINDEX));
  }
  lua_pop(L, 1);
  return {};
}

template <class Visit>
void Captures::for_each(lua_State* L, Visit visit) const {
  const int top = lua_gettop(L);
  size_t next = 0;
  bool more = true;
  for (const int reader : readers_) {
    luaL_checkstack(L, kMaxUpvalues + 8, "too many captured variables");
    lua_rawgeti(L, LUA_REGISTRYINDEX, reader);
    lua_call(L, 0, LUA_MULTRET);
    const int last = lua_gettop(L);
    for (int i = top + 1; more && i <= last; ++i) more = visit(captured_[next++], i);
    lua_settop(L, top);
    if (!more) return;
  }
}

// --- at each call ---

bool Captures::match(lua_State* L, std::vector<const kernels::Tensor*>& tensors) const {
  bool same = true;
  for_each(L, [&](const Captured& c, int at) {
    if (!c.is_input) return same = lua_type(L, at) == c.type && bits_at(L, at, c.type) == c.bits;
    const session::ScriptValue* now = tensor_at(L, at);
    // The tensor of the trace, which is kept, tells type and allocator.
    same = now && same_type(*now, std::bit_cast<const Box<LuaTensor>*>(c.bits)->object.value);
    if (same) tensors.push_back(&now->tensor());
    return same;
  });
  return same;
}

const Captured* Captures::first_change(lua_State* L) const {
  const Captured* changed = nullptr;
  for_each(L, [&](const Captured& c, int at) {
    if (lua_type(L, at) == c.type && bits_at(L, at, c.type) == c.bits) return true;
    const session::ScriptValue* now = tensor_at(L, at);
    if (c.is_input && now && same_type(*now, std::bit_cast<const Box<LuaTensor>*>(c.bits)->object.value))
      return true;
    changed = &c;
    return false;
  });
  return changed;
}

void Captures::find_replaced(lua_State* L, ReplacedTensors& replaced) const {
  if (captured_.empty()) return;
  lua_rawgeti(L, LUA_REGISTRYINDEX, values_);
  const int values = lua_gettop(L);
  for_each(L, [&](const Captured& c, int at) {
    if (!tensor_at(L, at) || bits_at(L, at, LUA_TUSERDATA) == c.bits) return true;
    lua_rawgeti(L, values, static_cast<int>(&c - captured_.data()) + 1);
    if (tensor_at(L, -1)) replaced.insert(c.cell);
    lua_pop(L, 1);
    return true;
  });
  lua_settop(L, values - 1);
}

std::string Captures::describe(lua_State* L) const {
  std::string text;
  for_each(L, [&](const Captured& c, int at) {
    text += fmt::format("{} = {}\n", c.name, text_of(L, at));
    return true;
  });
  return text;
}

// --- while traced ---

std::vector<session::ScriptValue> Captures::inputs(lua_State* L) const {
  std::vector<session::ScriptValue> tensors;
  for_each(L, [&](const Captured& c, int at) {
    if (c.is_input) tensors.push_back(*tensor_at(L, at));
    return true;
  });
  return tensors;
}

void Captures::put(lua_State* L, std::vector<session::ScriptValue> symbols) {
  symbols_.clear();
  for (size_t i = 0; i < captured_.size(); ++i) {
    if (!captured_[i].is_input) continue;
    push_tensor(L, std::move(symbols[symbols_.size()]));
    symbols_.push_back(lua_topointer(L, -1));
    assign(L, i);
  }
}

void Captures::restore(lua_State* L, Restore which) const {
  lua_rawgeti(L, LUA_REGISTRYINDEX, values_);
  const int values = lua_gettop(L);
  std::vector<size_t> wanted;
  for_each(L, [&](const Captured& c, int at) {
    const auto* tensor = test<LuaTensor>(L, at);
    if (which == Restore::all || (tensor && tensor->value.is_symbol()))
      wanted.push_back(static_cast<size_t>(&c - captured_.data()));
    return true;
  });
  for (const size_t i : wanted) {
    lua_rawgeti(L, values, static_cast<int>(i) + 1);
    assign(L, i);
  }
  lua_pop(L, 1);
}

Result<std::vector<Assigned>> Captures::assigned(lua_State* L, std::vector<session::ScriptValue>& leaves,
                                                 MetTables& tables) const {
  std::vector<Assigned> list;
  Status status;
  size_t inputs = 0;
  for_each(L, [&](const Captured& c, int at) {
    const uint64_t put = c.is_input ? std::bit_cast<uintptr_t>(symbols_[inputs++]) : c.bits;
    const int type = lua_type(L, at);
    if (type == c.type && bits_at(L, at, type) == put) return true;
    const bool is_plain = type <= LUA_TSTRING && type != LUA_TLIGHTUSERDATA;
    if (!is_plain && !test<LuaTensor>(L, at) && !test<LuaGroup>(L, at)) {
      status = fail(Code::Unsupported,
                    fmt::format("a compiled function sets the captured variable '{}' to {}, which the calls "
                                "that replay it can't do",
                                c.name, type_name(L, at)),
                    origin(L), "return it, or set the variable outside");
      return false;
    }
    auto value = flatten(L, at, leaves, tables);
    if (value)
      list.push_back({static_cast<size_t>(&c - captured_.data()), std::move(*value)});
    else
      status = std::unexpected(std::move(value).error());
    return status.has_value();
  });
  if (!status) return std::unexpected(std::move(status).error());
  return list;
}

void Captures::assign(lua_State* L, size_t captured) const {
  const Captured& c = captured_[captured];
  lua_rawgeti(L, LUA_REGISTRYINDEX, functions_);
  lua_rawgeti(L, -1, c.function);
  lua_pushvalue(L, -3);
  lua_setupvalue(L, -2, c.upvalue);
  lua_pop(L, 3);
}

}  // namespace peri::lua::compiled
