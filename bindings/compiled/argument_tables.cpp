// See argument_tables.hpp.
#include "bindings/compiled/argument_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <set>

namespace peri::lua::compiled {
namespace {

void push_key(lua_State* L, const Tree& key) {
  std::vector<session::ScriptValue> none;
  unflatten(L, key, none);
}

// To the bit: 0 and -0 differ.
bool is_same(lua_State* L, int a, int b) {
  if (lua_type(L, a) == LUA_TNUMBER && lua_type(L, b) == LUA_TNUMBER)
    return std::bit_cast<uint64_t>(lua_tonumber(L, a)) == std::bit_cast<uint64_t>(lua_tonumber(L, b));
  return lua_rawequal(L, a, b) != 0;
}

const void* metatable_at(lua_State* L, int index) {
  if (!lua_getmetatable(L, index)) return nullptr;
  const void* address = lua_topointer(L, -1);
  lua_pop(L, 1);
  return address;
}

// Calls add(stack index of a key) for the keys of `table` that `other` has with another value.
template <class Add>
Status compare_tables(lua_State* L, int table, int other, Add add) {
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_pushvalue(L, -2);
    lua_rawget(L, other);
    const bool same = is_same(L, -1, -2);
    lua_pop(L, 2);
    if (!same) PERI_TRY(add(lua_gettop(L)));
  }
  return {};
}

void add_tables(const Tree& tree, std::set<int>& tables) {
  if (tree.kind == Tree::Kind::argument_table) tables.insert(static_cast<int>(tree.number));
  for (const Tree::Item& item : tree.items) add_tables(item.value, tables);
}

bool find_table(const Tree& tree, int table, std::vector<Tree>& keys) {
  if (tree.kind == Tree::Kind::table && static_cast<int>(tree.number) == table) return true;
  for (const Tree::Item& item : tree.items) {
    keys.push_back(item.key);
    if (find_table(item.value, table, keys)) return true;
    keys.pop_back();
  }
  return false;
}

}  // namespace

TracedTables::TracedTables(lua_State* L) {
  lua_newtable(L);
  made_ = lua_gettop(L);
  lua_newtable(L);
  before_ = lua_gettop(L);
}

MetTables TracedTables::remember(lua_State* L) {
  MetTables tables;
  count_ = static_cast<int>(lua_objlen(L, made_));
  for (int i = 1; i <= count_; ++i) {
    lua_rawgeti(L, made_, i);
    const int table = lua_gettop(L);
    Tree known;
    known.kind = Tree::Kind::argument_table;
    known.number = i;
    tables.known.emplace(lua_topointer(L, table), std::move(known));
    lua_newtable(L);
    lua_pushnil(L);
    while (lua_next(L, table)) {
      lua_pushvalue(L, -2);
      lua_insert(L, -2);
      lua_rawset(L, table + 1);
    }
    if (lua_getmetatable(L, table)) lua_setmetatable(L, table + 1);
    lua_rawseti(L, before_, i);
    lua_pop(L, 1);
  }
  return tables;
}

Result<std::vector<Tree>> TracedTables::changed_keys(lua_State* L, int now, int before) const {
  if (metatable_at(L, now) != metatable_at(L, before))
    return fail(Code::Unsupported,
                "a compiled function sets the metatable of a table among its arguments, which the calls that "
                "replay it can't do",
                origin(L), "set it outside");
  std::vector<Tree> keys;
  const auto add = [&](int index) -> Status {
    keys.push_back(PERI_TRY(flatten_key(L, index)));
    return {};
  };
  const auto add_gone = [&](int index) -> Status {
    lua_pushvalue(L, index);
    lua_rawget(L, now);
    const bool gone = lua_isnil(L, -1);
    lua_pop(L, 1);
    return gone ? add(index) : Status{};
  };
  PERI_TRY(compare_tables(L, now, before, add));
  PERI_TRY(compare_tables(L, before, now, add_gone));
  std::ranges::sort(keys, comes_before);
  return keys;
}

Result<std::vector<ChangedField>> TracedTables::changed(lua_State* L,
                                                        std::vector<session::ScriptValue>& leaves,
                                                        MetTables& tables) const {
  luaL_checkstack(L, 12, "too many values");
  std::vector<ChangedField> list;
  for (int i = 1; i <= count_; ++i) {
    lua_rawgeti(L, made_, i);
    lua_rawgeti(L, before_, i);
    const int now = lua_gettop(L) - 1;
    for (Tree& key : PERI_TRY(changed_keys(L, now, now + 1))) {
      push_key(L, key);
      lua_rawget(L, now);
      auto value = flatten(L, lua_gettop(L), leaves, tables);
      lua_pop(L, 1);
      if (!value)
        return fail(Code::Unsupported,
                    fmt::format("a compiled function sets {} of a table among its arguments: {}",
                                describe_key(key), value.error().message),
                    value.error().where, "set it outside");
      list.push_back({i, std::move(key), std::move(*value)});
    }
    lua_pop(L, 2);
  }
  return list;
}

std::vector<TablePath> paths_of(const Tree& arguments, const std::vector<const Tree*>& results,
                                const std::vector<ChangedField>& changed) {
  std::set<int> tables;
  for (const Tree* tree : results) add_tables(*tree, tables);
  for (const ChangedField& field : changed) {
    tables.insert(field.table);
    add_tables(field.value, tables);
  }
  std::vector<TablePath> paths;
  for (const int table : tables) {
    for (size_t i = 0; i < arguments.items.size(); ++i) {
      TablePath path{table, static_cast<int>(i) + 1};
      if (!find_table(arguments.items[i].value, table, path.keys)) continue;
      paths.push_back(std::move(path));
      break;
    }
  }
  return paths;
}

void push_tables(lua_State* L, int first, const std::vector<TablePath>& paths) {
  luaL_checkstack(L, 8, "too many values");
  lua_newtable(L);
  for (const TablePath& path : paths) {
    lua_pushvalue(L, first + path.argument - 1);
    for (const Tree& key : path.keys) {
      push_key(L, key);
      lua_rawget(L, -2);
      lua_remove(L, -2);
    }
    lua_rawseti(L, -2, path.table);
  }
}

void set_field(lua_State* L, const ChangedField& field, std::vector<session::ScriptValue>& leaves,
               const TableIndex& tables) {
  lua_rawgeti(L, tables.arguments, field.table);
  push_key(L, field.key);
  unflatten(L, field.value, leaves, tables);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

}  // namespace peri::lua::compiled
