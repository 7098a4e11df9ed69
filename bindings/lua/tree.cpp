// See tree.hpp.
#include "bindings/lua/tree.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "bindings/lua/tensor.hpp"

namespace peri::lua {
namespace {

constexpr int kMaxDepth = 32;

Result<Tree> flatten_table(lua_State* L, int index, std::vector<session::ScriptValue>& leaves, int depth) {
  if (depth >= kMaxDepth)
    return fail(Code::InvalidArgument,
                fmt::format("a table nested more than {} deep (does it contain itself?)", kMaxDepth),
                origin(L));
  luaL_checkstack(L, 8, "table too deep");
  Tree tree;
  tree.kind = Tree::Kind::table;
  const auto count = static_cast<int>(lua_objlen(L, index));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, index, i);
    Tree key;
    key.kind = Tree::Kind::number;
    key.number = i;
    auto item = flatten(L, lua_gettop(L), leaves, depth + 1);
    lua_pop(L, 1);
    tree.items.emplace_back(std::move(key), PERI_TRY(item));
  }
  // pairs() has no order of its own; names in sorted order are the same on every rank.
  std::vector<std::string> names;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) == LUA_TSTRING) names.emplace_back(lua_tostring(L, -2));
    lua_pop(L, 1);
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    lua_getfield(L, index, name.c_str());
    Tree key;
    key.kind = Tree::Kind::string;
    key.string = name;
    auto item = flatten(L, lua_gettop(L), leaves, depth + 1);
    lua_pop(L, 1);
    tree.items.emplace_back(std::move(key), PERI_TRY(item));
  }
  return tree;
}

}  // namespace

Result<Tree> flatten(lua_State* L, int index, std::vector<session::ScriptValue>& leaves, int depth) {
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
      tree.kind = Tree::Kind::number;
      tree.number = lua_tonumber(L, index);
      return tree;
    case LUA_TSTRING:
      tree.kind = Tree::Kind::string;
      tree.string = lua_tostring(L, index);
      return tree;
    case LUA_TTABLE:
      return flatten_table(L, index, leaves, depth);
    default:
      return fail(
          Code::InvalidArgument,
          fmt::format(
              "a compiled function takes and returns tensors, plain values and tables of them, not {}",
              type_name(L, index)),
          origin(L));
  }
}

void append_signature(const Tree& tree, const std::vector<session::ScriptValue>& leaves, std::string& text) {
  switch (tree.kind) {
    case Tree::Kind::nil:
      text += 'n';
      return;
    case Tree::Kind::boolean:
      text += tree.boolean ? "bt" : "bf";
      return;
    case Tree::Kind::number:
      fmt::format_to(std::back_inserter(text), "#{}", tree.number);
      return;
    case Tree::Kind::string:
      fmt::format_to(std::back_inserter(text), "s{}:{}", tree.string.size(), tree.string);
      return;
    case Tree::Kind::group:
      text += "g" + tree.group.to_string();
      return;
    case Tree::Kind::tensor: {
      const session::ScriptValue& v = leaves[static_cast<size_t>(tree.number)];
      text += v.type().to_string();
      if (!v.is_symbol() && v.tensor().storage->is_symmetric())
        text += "@" + to_string(v.tensor().storage->allocator());
      return;
    }
    case Tree::Kind::table:
      text += '{';
      for (const auto& [key, item] : tree.items) {
        append_signature(key, leaves, text);
        text += '=';
        append_signature(item, leaves, text);
        text += ',';
      }
      text += '}';
      return;
  }
}

void unflatten(lua_State* L, const Tree& tree, const std::vector<session::ScriptValue>& leaves) {
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
      return push_tensor(L, leaves[static_cast<size_t>(tree.number)]);
    case Tree::Kind::table:
      lua_newtable(L);
      for (const auto& [key, item] : tree.items) {
        unflatten(L, key, leaves);
        unflatten(L, item, leaves);
        lua_rawset(L, -3);
      }
      return;
  }
}

}  // namespace peri::lua
