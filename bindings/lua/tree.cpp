// See tree.hpp.
#include "bindings/lua/tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "bindings/lua/tensor.hpp"
#include "core/hash.hpp"

namespace peri::lua {
namespace {

constexpr int kMaxDepth = 32;

std::string_view text_at(lua_State* L, int index) {
  size_t length = 0;
  const char* text = lua_tolstring(L, index, &length);
  return {text, length};
}

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
  tree.list_size = tree.items.size();
  // pairs() has no order of its own; names in sorted order are the same on every rank.
  std::vector<std::string> names;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) == LUA_TSTRING) names.emplace_back(text_at(L, -2));
    lua_pop(L, 1);
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    lua_pushlstring(L, name.data(), name.size());
    lua_rawget(L, index);
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
      tree.string = text_at(L, index);
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

bool Tree::operator==(const Tree& other) const {
  return kind == other.kind && boolean == other.boolean &&
         std::bit_cast<uint64_t>(number) == std::bit_cast<uint64_t>(other.number) && string == other.string &&
         group == other.group && items == other.items;
}

void unflatten(lua_State* L, const Tree& tree, std::vector<session::ScriptValue>& leaves) {
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
      lua_newtable(L);
      for (const auto& [key, item] : tree.items) {
        unflatten(L, key, leaves);
        unflatten(L, item, leaves);
        lua_rawset(L, -3);
      }
      return;
  }
}

// --- signatures ---

namespace {

class SignatureHash {
 public:
  void mix(uint64_t word) { hash_.mix(word); }
  void mix(std::string_view text) { hash_.mix(text.size()).mix(text); }
  void mix(const Tree& tree) {
    mix(static_cast<uint64_t>(tree.kind) << 1 | tree.boolean);
    mix(std::bit_cast<uint64_t>(tree.number));
    mix(tree.string);
    for (const Tree::Item& item : tree.items) {
      mix(item.key);
      mix(item.value);
    }
  }
  void mix(const TensorType& type) {
    mix(static_cast<uint64_t>(type.dtype));
    for (const int64_t size : type.shape) mix(static_cast<uint64_t>(size));
  }
  uint64_t value() const { return hash_.value(); }

 private:
  Hash hash_;
};

const Allocator& allocator_of(const session::ScriptValue& v) {
  static const Allocator ordinary = DefaultAllocator{};
  return v.is_symbol() ? ordinary : v.tensor().storage->allocator();
}

// Compares values on the stack with a signature, in one walk that allocates nothing.
template <class Leaf>
class Matcher {
 public:
  Matcher(lua_State* state, const std::vector<Leaf>& leaves, std::vector<const kernels::Tensor*>& tensors)
      : lua_(state), top_(lua_gettop(state)), leaves_(leaves), tensors_(tensors) {
    tensors_.resize(leaves.size());
  }
  ~Matcher() { lua_settop(lua_, top_); }
  Matcher(const Matcher&) = delete;

  // Leaves the stack as it was, except where it finds a difference.
  bool matches(int index, const Tree& tree) {
    switch (tree.kind) {
      case Tree::Kind::nil:
        return lua_isnil(lua_, index);
      case Tree::Kind::boolean:
        return lua_isboolean(lua_, index) && (lua_toboolean(lua_, index) != 0) == tree.boolean;
      case Tree::Kind::number:
        return lua_type(lua_, index) == LUA_TNUMBER &&
               std::bit_cast<uint64_t>(lua_tonumber(lua_, index)) == std::bit_cast<uint64_t>(tree.number);
      case Tree::Kind::string:
        return lua_type(lua_, index) == LUA_TSTRING && text_at(lua_, index) == tree.string;
      case Tree::Kind::group: {
        const auto* group = test<LuaGroup>(lua_, index);
        return group && group->group == tree.group;
      }
      case Tree::Kind::tensor:
        return matches_tensor(index, static_cast<size_t>(tree.number));
      case Tree::Kind::table:
        return lua_type(lua_, index) == LUA_TTABLE && matches_table(index, tree);
    }
    return false;
  }

 private:
  bool matches_tensor(int index, size_t leaf) {
    const auto* tensor = test<LuaTensor>(lua_, index);
    if (!tensor) return false;
    const session::ScriptValue& value = tensor->value;
    if (value.is_symbol() || value.type() != leaves_[leaf].type) return false;
    if (value.tensor().storage->allocator() != leaves_[leaf].allocator) return false;
    tensors_[leaf] = &value.tensor();
    return true;
  }

  // Lua walks a list in order.
  bool matches_table(int index, const Tree& tree) {
    if (!lua_checkstack(lua_, 8)) return false;
    size_t listed = 0, named = 0;
    lua_pushnil(lua_);
    while (lua_next(lua_, index)) {
      const Tree* expected = nullptr;
      if (lua_type(lua_, -2) == LUA_TNUMBER && listed < tree.list_size &&
          lua_tonumber(lua_, -2) == static_cast<double>(listed + 1))
        expected = &tree.items[listed++].value;
      else if (lua_type(lua_, -2) == LUA_TSTRING)
        expected = find(tree, text_at(lua_, -2), named);
      if (!expected || !matches(lua_gettop(lua_), *expected)) return false;
      lua_pop(lua_, 1);
    }
    return listed + named == tree.items.size();
  }

  static const Tree* find(const Tree& tree, std::string_view name, size_t& named) {
    const auto names = std::span(tree.items).subspan(tree.list_size);
    if (named >= names.size()) return nullptr;
    tree.visited.resize(names.size());
    size_t& at = tree.visited[named++];
    if (names[at].key.string == name) return &names[at].value;
    const auto found = std::ranges::lower_bound(
        names, name, {}, [](const Tree::Item& item) { return std::string_view(item.key.string); });
    if (found == names.end() || found->key.string != name) return nullptr;
    at = static_cast<size_t>(found - names.begin());
    return &found->value;
  }

  lua_State* lua_;
  int top_;
  const std::vector<Leaf>& leaves_;
  std::vector<const kernels::Tensor*>& tensors_;
};

}  // namespace

Signature::Signature(Tree arguments, const std::vector<session::ScriptValue>& leaves)
    : arguments_(std::move(arguments)) {
  SignatureHash hash;
  hash.mix(arguments_);
  for (const session::ScriptValue& v : leaves) {
    leaves_.push_back({v.type(), allocator_of(v)});
    hash.mix(v.type());
  }
  hash_ = hash.value();
}

bool Signature::operator==(const Signature& other) const {
  return hash_ == other.hash_ && leaves_ == other.leaves_ && arguments_ == other.arguments_;
}

bool Signature::matches(lua_State* L, int first, std::vector<const kernels::Tensor*>& tensors) const {
  const int count = lua_gettop(L) - first + 1;
  if (static_cast<size_t>(count) != arguments_.items.size()) return false;
  Matcher matcher(L, leaves_, tensors);
  for (int i = 0; i < count; ++i)
    if (!matcher.matches(first + i, arguments_.items[static_cast<size_t>(i)].value)) return false;
  return true;
}

}  // namespace peri::lua
