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

// The tensor there if it has memory.
const session::ScriptValue* tensor_at(lua_State* L, int index) {
  const auto* tensor = test<LuaTensor>(L, index);
  return tensor && !tensor->value.is_symbol() ? &tensor->value : nullptr;
}

bool same_type(const session::ScriptValue& a, const session::ScriptValue& b) {
  return a.type() == b.type() && a.tensor().storage->allocator() == b.tensor().storage->allocator();
}

// A number, string, boolean, nil, tensor or group.
bool is_plain(lua_State* L, int index) {
  const int type = lua_type(L, index);
  return (type <= LUA_TSTRING && type != LUA_TLIGHTUSERDATA) || test<LuaTensor>(L, index) ||
         test<LuaGroup>(L, index);
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

// A Lua function has at most 60 upvalues, and returns at most some 200 values.
constexpr size_t kMaxUpvalues = 50;
constexpr int kMaxValues = 100;

int raw_get(lua_State* L) {
  lua_settop(L, 2);
  lua_rawget(L, 1);
  return 1;
}

// How Lua reads a place whose variable, or whose table, is that upvalue.
std::string expression(const Captured& c, size_t upvalue) {
  if (c.upvalue) return fmt::format("v{}", upvalue);
  const std::string key = c.position ? fmt::format("{}", c.position) : fmt::format("\"{}\"", c.key);
  return c.is_raw ? fmt::format("raw_get(v{},{})", upvalue, key) : fmt::format("v{}[{}]", upvalue, key);
}

// Pushes the function that this text makes, which uses upvalues v1 to v`count` and raw_get.
Status push_reader(lua_State* L, const std::string& expressions, size_t count) {
  std::string names;
  for (size_t i = 1; i <= count; ++i) names += fmt::format(",v{}", i);
  const std::string text = fmt::format("local raw_get{} return function() return {} end", names, expressions);
  if (luaL_loadbuffer(L, text.data(), text.size(), "=peri/captures") != 0)
    return std::unexpected(take_error(L));
  lua_call(L, 0, 1);
  return {};
}

}  // namespace

Captures::Captures(Captures&& other) noexcept
    : lua_(other.lua_),
      owners_(std::exchange(other.owners_, LUA_NOREF)),
      values_(std::exchange(other.values_, LUA_NOREF)),
      captured_(std::move(other.captured_)),
      readers_(std::exchange(other.readers_, {})),
      input_count_(other.input_count_),
      symbols_(std::move(other.symbols_)) {}

Captures::~Captures() {
  luaL_unref(lua_, LUA_REGISTRYINDEX, owners_);
  luaL_unref(lua_, LUA_REGISTRYINDEX, values_);
  for (const int reader : readers_) luaL_unref(lua_, LUA_REGISTRYINDEX, reader);
}

// --- what is captured ---

Result<Captures> Captures::take(lua_State* L, int function, const ReplacedTensors& replaced) {
  luaL_checkstack(L, 8, "too many values");
  Captures captures(L);
  const int top = lua_gettop(L);
  lua_newtable(L);
  lua_newtable(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, function);
  captures.captured_ = find_captured(L, top + 1, top + 2, replaced);
  captures.values_ = luaL_ref(L, LUA_REGISTRYINDEX);
  captures.owners_ = luaL_ref(L, LUA_REGISTRYINDEX);
  for (size_t next = 0; next < captures.captured_.size();) next = PERI_TRY(captures.make_reader(L, next));
  return captures;
}

// Of the places from `first` to the one that it returns.
Result<size_t> Captures::make_reader(lua_State* L, size_t first) {
  std::vector<size_t> upvalues;  // the place that each is for; of a table, the first one
  std::string expressions;
  size_t next = first;
  for (; next < captured_.size() && next < first + kMaxValues && upvalues.size() < kMaxUpvalues; ++next) {
    const Captured& c = captured_[next];
    const bool known = !c.upvalue && !upvalues.empty() && !captured_[upvalues.back()].upvalue &&
                       captured_[upvalues.back()].owner == c.owner;
    if (!known) upvalues.push_back(next);
    expressions += (next == first ? "" : ",") + expression(c, upvalues.size());
  }
  PERI_TRY(push_reader(L, expressions, upvalues.size()));
  const int reader = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, owners_);
  for (int i = 1; const char* name = lua_getupvalue(L, reader, i); ++i) {
    lua_pop(L, 1);
    if (*name == 'r') {
      lua_pushcfunction(L, raw_get);
      lua_setupvalue(L, reader, i);
      continue;
    }
    const Captured& c = captured_[upvalues[static_cast<size_t>(std::stoi(name + 1)) - 1]];
    lua_rawgeti(L, reader + 1, c.owner);
    if (c.upvalue) {
      lua_upvaluejoin(L, reader, i, reader + 2, c.upvalue);
      lua_pop(L, 1);
    } else {
      lua_setupvalue(L, reader, i);
    }
  }
  lua_pop(L, 1);
  readers_.push_back(luaL_ref(L, LUA_REGISTRYINDEX));
  return next;
}

template <class Visit>
void Captures::for_each(lua_State* L, Visit visit) const {
  const int top = lua_gettop(L);
  size_t next = 0;
  bool more = true;
  for (const int reader : readers_) {
    luaL_checkstack(L, kMaxValues + 8, "too many captured variables");
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
  tensors.resize(tensors.size() + input_count_);
  for_each(L, [&](const Captured& c, int at) {
    if (!c.is_input) return same = lua_type(L, at) == c.type && bits_at(L, at, c.type) == c.bits;
    const session::ScriptValue* now = tensor_at(L, at);
    // The tensor of the trace, which is kept, tells type and allocator.
    same = now && same_type(*now, std::bit_cast<const Box<LuaTensor>*>(c.bits)->object.value);
    if (same && c.input >= 0) tensors[static_cast<size_t>(c.input)] = &now->tensor();
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
    if (tensor_at(L, -1)) replaced.insert(c.place);
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

void Captures::number_inputs(const std::vector<int>& numbers) {
  size_t next = 0;
  input_count_ = 0;
  for (Captured& c : captured_) {
    if (!c.is_input) continue;
    c.input = numbers[next++];
    input_count_ += c.input >= 0 ? 1 : 0;
  }
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
    const bool can_be_set = c.upvalue || is_plain(L, at);
    if (which == Restore::all ? can_be_set : tensor && tensor->value.is_symbol())
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
    if (!is_plain(L, at)) {
      if (!c.upvalue) return true;  // of a captured table, which keeps what the trace has put there
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
  const int value = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, owners_);
  lua_rawgeti(L, -1, c.owner);
  if (c.upvalue) {
    lua_pushvalue(L, value);
    lua_setupvalue(L, -2, c.upvalue);
  } else {
    if (c.position)
      lua_pushinteger(L, c.position);
    else
      lua_pushlstring(L, c.key.data(), c.key.size());
    lua_pushvalue(L, value);
    lua_rawset(L, -3);
  }
  lua_settop(L, value - 1);
}

}  // namespace peri::lua::compiled
