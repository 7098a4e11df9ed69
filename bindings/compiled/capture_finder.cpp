// See capture_finder.hpp.
#include "bindings/compiled/capture_finder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>

#include "bindings/compiled/function.hpp"
#include "bindings/lua/tensor.hpp"

namespace peri::lua::compiled {
namespace {

constexpr const char* kConstantOf = "peri.funck";

bool is_library(lua_State* L, int index) {  // a function written in Lua that is part of peri
  lua_Debug frame;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &frame);
  return std::strncmp(frame.source, "=peri/", 6) == 0;
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() < 100 &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) || c == '_'; });
}

class Finder {
 public:
  Finder(lua_State* state, int owners, int values, const ReplacedTensors& replaced)
      : lua_(state), owners_(owners), values_(values), replaced_(replaced) {}

  // Of the function at the stack's top, which is popped.
  std::vector<Captured> find() {
    add_value("", false);
    lua_pushvalue(lua_, LUA_GLOBALSINDEX);
    add_table("", false);
    size_t before = 0;
    do {
      before = captured_.size() + functions_.size();
      for (; next_function_ < functions_.size(); ++next_function_) take_function(functions_[next_function_]);
      for (size_t i = 0; i < tables_.size(); ++i) take_fields(i);
    } while (captured_.size() + functions_.size() > before);
    for (const Table& table : tables_)
      if (table.is_held && !table.has_metatable)
        for (const std::string& name : names_) take_field(table, name, 0, true);
    return std::move(captured_);
  }

 private:
  struct Table {
    std::string name;
    int owner;
    const void* address;
    // By a variable, not in another table.
    bool is_held, has_metatable;
  };

  // The value at the stack's top, which is popped, becomes an owner.
  int add_owner() {
    lua_rawseti(lua_, owners_, ++owner_count_);
    return owner_count_;
  }

  // What the value at the stack's top, which is popped, captures itself.
  void add_value(const std::string& name, bool is_held) {
    if (const auto* function = test<LuaCompiled>(lua_, -1)) {
      lua_pop(lua_, 1);
      lua_rawgeti(lua_, LUA_REGISTRYINDEX, function->function);
    }
    if (lua_istable(lua_, -1)) return add_table(name, is_held);
    if (!lua_isfunction(lua_, -1) || lua_iscfunction(lua_, -1) || is_library(lua_, -1) ||
        !seen_.insert(lua_topointer(lua_, -1)).second)
      return lua_pop(lua_, 1);
    functions_.push_back(add_owner());
  }

  void add_table(const std::string& name, bool is_held) {
    const void* address = lua_topointer(lua_, -1);
    lua_getfield(lua_, LUA_REGISTRYINDEX, "peri.module");
    const bool is_peri = lua_rawequal(lua_, -1, -2) != 0;
    lua_pop(lua_, 1);
    if (is_peri || tables_.size() > kMaxFields || !seen_.insert(address).second) return lua_pop(lua_, 1);
    const bool has_metatable = lua_getmetatable(lua_, -1) != 0;
    if (has_metatable) {  // a class, whose fields its objects have
      lua_pushliteral(lua_, "__index");
      lua_rawget(lua_, -2);
      lua_remove(lua_, -2);
      lua_istable(lua_, -1) ? add_table(name, false) : lua_pop(lua_, 1);
    }
    tables_.push_back({name, add_owner(), address, is_held, has_metatable});
  }

  void take_function(int owner) {
    lua_rawgeti(lua_, owners_, owner);
    add_names();
    for (int i = 1; const char* name = lua_getupvalue(lua_, -1, i); ++i) {
      const void* cell = lua_upvalueid(lua_, -2, i);
      if (seen_.insert(cell).second)
        add_captured({.name = name, .place = {cell, ""}, .owner = owner, .upvalue = i}, true);
      else
        lua_pop(lua_, 1);
    }
    lua_pop(lua_, 1);
  }

  // The texts that the function at the stack's top, and functions in it, contain: the fields that it reads
  // are among them.
  void add_names() {
    for (int i = -1;; --i) {
      lua_getfield(lua_, LUA_REGISTRYINDEX, kConstantOf);
      lua_pushvalue(lua_, -2);
      lua_pushinteger(lua_, i);
      lua_call(lua_, 2, 1);
      if (lua_isnil(lua_, -1)) return lua_pop(lua_, 1);
      constexpr int kPrototype = LUA_TTHREAD + 1;
      if (lua_type(lua_, -1) == LUA_TSTRING && is_name(lua_tostring(lua_, -1)))
        names_.insert(lua_tostring(lua_, -1));
      else if (lua_type(lua_, -1) == kPrototype)
        add_names();
      lua_pop(lua_, 1);
    }
  }

  void take_fields(size_t index) {
    const Table table = tables_[index];  // there may be more of them meanwhile
    for (const std::string& name : names_) take_field(table, name, 0, false);
    if (table.name.empty()) return;  // globals
    const int top = lua_gettop(lua_);
    lua_rawgeti(lua_, owners_, table.owner);
    const auto count = static_cast<int>(lua_objlen(lua_, -1));
    if (names_.contains("pairs") || names_.contains("next"))
      for (const std::string& name : all_names()) take_field(table, name, 0, false);
    lua_settop(lua_, top);
    for (int i = 1; i <= count; ++i) take_field(table, "", i, false);
    if (count > 0 || table.is_held) take_field(table, "", count + 1, !table.has_metatable);
  }

  // Of the table at the stack's top.
  std::vector<std::string> all_names() {
    std::vector<std::string> names;
    lua_pushnil(lua_);
    while (lua_next(lua_, -2)) {
      if (lua_type(lua_, -2) == LUA_TSTRING && is_name(lua_tostring(lua_, -2)))
        names.emplace_back(lua_tostring(lua_, -2));
      lua_pop(lua_, 1);
    }
    std::ranges::sort(names);
    return names;
  }

  void take_field(const Table& table, const std::string& key, int position, bool even_absent) {
    const Place place = {table.address, position ? fmt::format("[{}]", position) : key};
    if (fields_.size() >= kMaxFields || fields_.contains(place)) return;
    lua_rawgeti(lua_, owners_, table.owner);
    if (position)
      lua_pushinteger(lua_, position);
    else
      lua_pushlstring(lua_, key.data(), key.size());
    lua_rawget(lua_, -2);
    lua_remove(lua_, -2);
    if (lua_isnil(lua_, -1) && !even_absent) return lua_pop(lua_, 1);
    fields_.insert(place);
    const char* dot = position || table.name.empty() ? "" : ".";
    add_captured({.name = table.name + dot + place.second,
                  .place = place,
                  .owner = table.owner,
                  .upvalue = 0,
                  .key = key,
                  .position = position,
                  .is_raw = table.has_metatable || table.name.empty()},
                 false);
  }

  // With the value at the stack's top, which is popped.
  void add_captured(Captured c, bool is_variable) {
    c.type = lua_type(lua_, -1);
    c.bits = bits_at(lua_, -1, c.type);
    const auto* tensor = test<LuaTensor>(lua_, -1);
    c.is_input = tensor && !tensor->value.is_symbol() && replaced_.contains(c.place);
    captured_.push_back(std::move(c));
    lua_pushvalue(lua_, -1);
    lua_rawseti(lua_, values_, static_cast<int>(captured_.size()));
    const std::string name = captured_.back().name;
    add_value(name, is_variable);
  }

  lua_State* lua_;
  int owners_, values_;
  const ReplacedTensors& replaced_;
  int owner_count_ = 0;
  std::vector<Captured> captured_;
  // Functions' owner numbers, in the order in which they were reached, and how many have been looked at.
  std::vector<int> functions_;
  size_t next_function_ = 0;
  std::vector<Table> tables_;
  std::set<std::string> names_;
  std::set<Place> fields_;
  // Functions, cells and tables.
  std::set<const void*> seen_;
};

}  // namespace

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

std::vector<Captured> find_captured(lua_State* L, int owners, int values, const ReplacedTensors& replaced) {
  luaL_checkstack(L, 200, "too many captured values");
  return Finder(L, owners, values, replaced).find();
}

void register_finder(lua_State* L) {
  lua_getglobal(L, "require");
  lua_pushliteral(L, "jit.util");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "funck");
  lua_setfield(L, LUA_REGISTRYINDEX, kConstantOf);
  lua_pop(L, 1);
}

}  // namespace peri::lua::compiled
