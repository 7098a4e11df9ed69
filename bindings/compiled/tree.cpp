// See tree.hpp.
#include "bindings/compiled/tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "bindings/lua/tensor.hpp"

namespace peri::lua::compiled {
namespace {

constexpr int kMaxDepth = 32;

std::string_view text_at(lua_State* L, int index) {
  size_t length = 0;
  const char* text = lua_tolstring(L, index, &length);
  return {text, length};
}

Tree numbered(Tree::Kind kind, double number) {
  Tree tree;
  tree.kind = kind;
  tree.number = number;
  return tree;
}

// The keys behind the list, in an order of their own: pairs() has none that is the same on every rank.
Result<std::vector<Tree>> other_keys(lua_State* L, int index, size_t list_size) {
  std::vector<Tree> keys;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    Tree key = PERI_TRY(flatten_key(L, lua_gettop(L)));
    const bool is_listed = key.kind == Tree::Kind::number && key.number >= 1 &&
                           key.number <= static_cast<double>(list_size) &&
                           key.number == std::floor(key.number);
    if (!is_listed) keys.push_back(std::move(key));
  }
  std::ranges::sort(keys, comes_before);
  return keys;
}

void push_key(lua_State* L, const Tree& key) {
  std::vector<session::ScriptValue> none;
  unflatten(L, key, none);
}

Status flatten_items(lua_State* L, int index, Tree& tree, std::vector<session::ScriptValue>& leaves,
                     MetTables& tables, int depth) {
  for (int i = 1;; ++i) {
    lua_rawgeti(L, index, i);
    if (lua_isnil(L, -1)) break;
    auto item = flatten(L, lua_gettop(L), leaves, tables, depth + 1);
    lua_pop(L, 1);
    tree.items.emplace_back(numbered(Tree::Kind::number, i), PERI_TRY(std::move(item)));
  }
  lua_pop(L, 1);
  tree.list_size = tree.items.size();
  for (Tree& key : PERI_TRY(other_keys(L, index, tree.list_size))) {
    if (key.kind == Tree::Kind::number && key.number > 0) tree.length = lua_objlen(L, index);
    push_key(L, key);
    lua_rawget(L, index);
    auto item = flatten(L, lua_gettop(L), leaves, tables, depth + 1);
    lua_pop(L, 1);
    tree.items.emplace_back(std::move(key), PERI_TRY(std::move(item)));
  }
  return {};
}

Result<Tree> flatten_table(lua_State* L, int index, std::vector<session::ScriptValue>& leaves,
                           MetTables& tables, int depth) {
  const void* address = lua_topointer(L, index);
  if (const auto known = tables.known.find(address); known != tables.known.end()) return known->second;
  if (depth >= kMaxDepth)
    return fail(Code::InvalidArgument,
                fmt::format("a table nested more than {} deep (does it contain itself?)", kMaxDepth),
                origin(L));
  luaL_checkstack(L, 8, "table too deep");
  Tree tree = numbered(Tree::Kind::table, ++tables.count);
  if (lua_getmetatable(L, index)) {
    tree.metatable = lua_topointer(L, -1);
    tree.kept_metatable = std::make_shared<const Anchor>(L);
  }
  PERI_TRY(flatten_items(L, index, tree, leaves, tables, depth));
  tables.known.emplace(address, numbered(Tree::Kind::same_table, tree.number));
  return tree;
}

}  // namespace

bool comes_before(const Tree& a, const Tree& b) {
  if (a.kind != b.kind) return a.kind < b.kind;
  if (a.number != b.number) return a.number < b.number;
  if (a.boolean != b.boolean) return b.boolean;
  return a.string < b.string;
}

std::string describe_key(const Tree& key) {
  switch (key.kind) {
    case Tree::Kind::string:
      return "." + key.string;
    case Tree::Kind::boolean:
      return key.boolean ? "[true]" : "[false]";
    default:
      return fmt::format("[{}]", key.number);
  }
}

Result<Tree> flatten_key(lua_State* L, int index) {
  const int type = lua_type(L, index);
  if (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TBOOLEAN)
    return fail(Code::InvalidArgument,
                "a table that a compiled function takes or returns has a key which is " +
                    type_name(L, index) + ", not a number, a string or a boolean",
                origin(L));
  std::vector<session::ScriptValue> none;
  MetTables no_tables;
  return flatten(L, index, none, no_tables);
}

Result<Tree> flatten(lua_State* L, int index, std::vector<session::ScriptValue>& leaves, MetTables& tables,
                     int depth) {
  Tree tree;
  if (auto* tensor = test<LuaTensor>(L, index)) {
    tree.kind = Tree::Kind::tensor;
    tree.number = static_cast<double>(leaves.size());
    leaves.push_back(tensor->value);
    return tree;
  }
  if (auto* group = test<LuaGroup>(L, index)) {
    tree.kind = Tree::Kind::group;
    tree.group = group->group;
    return tree;
  }
  switch (lua_type(L, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
      return tree;
    case LUA_TBOOLEAN:
      tree.kind = Tree::Kind::boolean;
      tree.boolean = lua_toboolean(L, index) != 0;
      return tree;
    case LUA_TNUMBER:
      return numbered(Tree::Kind::number, lua_tonumber(L, index));
    case LUA_TSTRING:
      tree.kind = Tree::Kind::string;
      tree.string = text_at(L, index);
      return tree;
    case LUA_TTABLE:
      return flatten_table(L, index, leaves, tables, depth);
    default:
      return fail(
          Code::InvalidArgument,
          fmt::format(
              "a compiled function takes and returns tensors, plain values and tables of them, not {}",
              type_name(L, index)),
          origin(L));
  }
}

bool Tree::operator==(const Tree& other) const {
  return kind == other.kind && boolean == other.boolean &&
         std::bit_cast<uint64_t>(number) == std::bit_cast<uint64_t>(other.number) && string == other.string &&
         group == other.group && length == other.length && metatable == other.metatable &&
         items == other.items;
}

// As long as it was: what # gives of a table with holes depends on how it was made.
static void push_table(lua_State* L, const Tree& tree, std::vector<session::ScriptValue>& leaves,
                       const TableIndex& tables) {
  const size_t listed = std::max(tree.list_size, tree.length);
  lua_createtable(L, static_cast<int>(listed), static_cast<int>(tree.items.size() - tree.list_size));
  if (tables.made) {
    lua_pushvalue(L, -1);
    lua_rawseti(L, tables.made, static_cast<int>(tree.number));
  }
  for (const auto& [key, item] : tree.items) {
    unflatten(L, key, leaves);
    unflatten(L, item, leaves, tables);
    lua_rawset(L, -3);
  }
  if (!tree.kept_metatable) return;
  tree.kept_metatable->push(L);
  lua_setmetatable(L, -2);
}

void unflatten(lua_State* L, const Tree& tree, std::vector<session::ScriptValue>& leaves,
               const TableIndex& tables) {
  luaL_checkstack(L, 8, "table too deep");
  switch (tree.kind) {
    case Tree::Kind::nil:
      return lua_pushnil(L);
    case Tree::Kind::boolean:
      return lua_pushboolean(L, tree.boolean);
    case Tree::Kind::number:
      return lua_pushnumber(L, tree.number);
    case Tree::Kind::string:
      return lua_pushlstring(L, tree.string.data(), tree.string.size());
    case Tree::Kind::group:
      push<LuaGroup>(L, tree.group);
      return;
    case Tree::Kind::tensor:
      return push_tensor(L, std::move(leaves[static_cast<size_t>(tree.number)]));
    case Tree::Kind::table:
      return push_table(L, tree, leaves, tables);
    case Tree::Kind::same_table:
      return lua_rawgeti(L, tables.made, static_cast<int>(tree.number));
    case Tree::Kind::argument_table:
      return lua_rawgeti(L, tables.arguments, static_cast<int>(tree.number));
  }
}

}  // namespace peri::lua::compiled
