// See signature.hpp.
#include "bindings/compiled/signature.hpp"

#include <algorithm>
#include <bit>
#include <compare>
#include <span>

#include "bindings/lua/tensor.hpp"
#include "core/hash.hpp"

namespace peri::lua::compiled {
namespace {

std::string_view text_at(lua_State* L, int index) {
  size_t length = 0;
  const char* text = lua_tolstring(L, index, &length);
  return {text, length};
}

class SignatureHash {
 public:
  void mix(uint64_t word) { hash_.mix(word); }
  void mix(std::string_view text) { hash_.mix(text.size()).mix(text); }
  void mix(const Tree& tree) {
    mix(static_cast<uint64_t>(tree.kind) << 1 | tree.boolean);
    mix(std::bit_cast<uint64_t>(tree.number));
    mix(tree.string);
    mix(tree.length);
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
  Matcher(lua_State* state, const std::vector<Leaf>& leaves, MatchedTables& tables,
          std::vector<const kernels::Tensor*>& tensors)
      : lua_(state), top_(lua_gettop(state)), leaves_(leaves), tables_(tables), tensors_(tensors) {
    tables_.repeated.clear();
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
      case Tree::Kind::same_table:
        tables_.repeated.emplace_back(static_cast<size_t>(tree.number), lua_topointer(lua_, index));
        return true;
      case Tree::Kind::argument_table:
        return false;  // in results only
    }
    return false;
  }

  // Once all values match: whether tables are the same where they were, and else different.
  bool tables_match() {
    for (const auto& [number, address] : tables_.repeated)
      if (tables_.addresses[number - 1] != address) return false;
    std::ranges::sort(tables_.addresses);
    return std::ranges::adjacent_find(tables_.addresses) == tables_.addresses.end();
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
    if (!lua_checkstack(lua_, 8) || !has_metatable(index, tree.metatable)) return false;
    if (tree.length != 0 && lua_objlen(lua_, index) != tree.length) return false;
    tables_.addresses[static_cast<size_t>(tree.number) - 1] = lua_topointer(lua_, index);
    size_t listed = 0, others = 0;
    lua_pushnil(lua_);
    while (lua_next(lua_, index)) {
      const bool is_listed = lua_type(lua_, -2) == LUA_TNUMBER && listed < tree.list_size &&
                             lua_tonumber(lua_, -2) == static_cast<double>(listed + 1);
      const Tree* expected = is_listed ? &tree.items[listed++].value : find(tree, others);
      if (!expected || !matches(lua_gettop(lua_), *expected)) return false;
      lua_pop(lua_, 1);
    }
    return listed + others == tree.items.size();
  }

  bool has_metatable(int index, const void* metatable) {
    if (!lua_getmetatable(lua_, index)) return !metatable;
    const bool same = lua_topointer(lua_, -1) == metatable;
    lua_pop(lua_, 1);
    return same;
  }

  // How this key compares with the one below the stack's top: as in the order of keys.
  std::partial_ordering compare(const Tree& key) const {
    switch (lua_type(lua_, -2)) {
      case LUA_TBOOLEAN:
        if (key.kind != Tree::Kind::boolean) return key.kind <=> Tree::Kind::boolean;
        return key.boolean <=> (lua_toboolean(lua_, -2) != 0);
      case LUA_TNUMBER:
        if (key.kind != Tree::Kind::number) return key.kind <=> Tree::Kind::number;
        return key.number <=> lua_tonumber(lua_, -2);
      case LUA_TSTRING:
        if (key.kind != Tree::Kind::string) return key.kind <=> Tree::Kind::string;
        return std::string_view(key.string) <=> text_at(lua_, -2);
      default:
        return std::partial_ordering::unordered;
    }
  }

  // What belongs to the key below the stack's top, where the last walk found it, or wherever it is.
  const Tree* find(const Tree& tree, size_t& others) {
    const auto items = std::span(tree.items).subspan(tree.list_size);
    if (others >= items.size()) return nullptr;
    tree.visited.resize(items.size());
    size_t& at = tree.visited[others++];
    if (compare(items[at].key) == 0) return &items[at].value;
    const auto found =
        std::ranges::partition_point(items, [&](const Tree::Item& item) { return compare(item.key) < 0; });
    if (found == items.end() || compare(found->key) != 0) return nullptr;
    at = static_cast<size_t>(found - items.begin());
    return &found->value;
  }

  lua_State* lua_;
  int top_;
  const std::vector<Leaf>& leaves_;
  MatchedTables& tables_;
  std::vector<const kernels::Tensor*>& tensors_;
};

size_t count_tables(const Tree& tree) {
  size_t count = tree.kind == Tree::Kind::table ? 1 : 0;
  for (const Tree::Item& item : tree.items) count += count_tables(item.value);
  return count;
}

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
  scratch_.addresses.resize(count_tables(arguments_) - 1);  // all but that of the arguments themselves
}

bool Signature::operator==(const Signature& other) const {
  return hash_ == other.hash_ && leaves_ == other.leaves_ && arguments_ == other.arguments_;
}

bool Signature::matches(lua_State* L, int first, std::vector<const kernels::Tensor*>& tensors) const {
  const int count = lua_gettop(L) - first + 1;
  if (static_cast<size_t>(count) != arguments_.items.size()) return false;
  Matcher matcher(L, leaves_, scratch_, tensors);
  for (int i = 0; i < count; ++i)
    if (!matcher.matches(first + i, arguments_.items[static_cast<size_t>(i)].value)) return false;
  return matcher.tables_match();
}

}  // namespace peri::lua::compiled
