// Arguments and results of a compiled function: tensors, plain values, and tables of them, nested.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bindings/lua/lua.hpp"
#include "bindings/session/value.hpp"

namespace peri::lua::compiled {

// A value that Lua keeps as long as this lives.
class Anchor {
 public:
  // Of the value at the stack's top, which is popped.
  explicit Anchor(lua_State* L) : lua_(L), reference_(luaL_ref(L, LUA_REGISTRYINDEX)) {}
  ~Anchor() { luaL_unref(lua_, LUA_REGISTRYINDEX, reference_); }
  Anchor(const Anchor&) = delete;
  void push(lua_State* L) const { lua_rawgeti(L, LUA_REGISTRYINDEX, reference_); }

 private:
  lua_State* lua_;
  int reference_;
};

struct Tree {
  // same_table: a table that stands here a second time; argument_table: of a result, a table of the
  // arguments.
  enum class Kind : uint8_t {
    nil,
    boolean,
    number,
    string,
    tensor,
    table,
    group,
    same_table,
    argument_table
  } kind = Kind::nil;
  bool boolean = false;
  // Or the tensor's position among the leaves, or a table's number, from 1.
  double number = 0;
  std::string string;
  Group group;
  // Of a table: its list, then what it has under other keys, in their order.
  struct Item;
  std::vector<Item> items;
  size_t list_size = 0;
  // What # gives if there are whole numbers beyond the list among the keys, else 0.
  size_t length = 0;
  // nullptr: none. The address is compared, what the metatable holds is not.
  const void* metatable = nullptr;
  std::shared_ptr<const Anchor> kept_metatable{};
  // Where among the other keys those stand that Lua gives first, second and so on: as it was last time.
  mutable std::vector<size_t> visited{};

  // The same structure and plain values, to the bit.
  bool operator==(const Tree& other) const;
};
struct Tree::Item {
  Tree key, value;
  bool operator==(const Item&) const = default;
};

// The order of keys: by kind, then by value.
bool comes_before(const Tree& a, const Tree& b);
// A key as errors show it: ".name" or "[2]".
std::string describe_key(const Tree& key);

// The tables that one taking apart has met, by address: what stands for them if they are met again.
struct MetTables {
  std::map<const void*, Tree> known;
  int count = 0;
};

// Takes apart the value at `index`: tensors go to `leaves` in order. Depth is limited; functions and other
// values are errors.
Result<Tree> flatten(lua_State* L, int index, std::vector<session::ScriptValue>& leaves, MetTables& tables,
                     int depth = 0);
// The key of a table at `index`. Error: no number, string or boolean.
Result<Tree> flatten_key(lua_State* L, int index);

// Where unflatten finds and puts tables, by number: stack indices of Lua tables; 0: none is needed.
struct TableIndex {
  int made = 0;
  int arguments = 0;
};

// Pushes the value again, with these tensors as leaves, each of which is taken.
void unflatten(lua_State* L, const Tree& tree, std::vector<session::ScriptValue>& leaves,
               const TableIndex& tables = {});

}  // namespace peri::lua::compiled
