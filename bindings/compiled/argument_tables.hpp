// Tables among the arguments of a compiled function: while it is traced it gets copies of them that hold
// symbols. What it changes in these is changed in the caller's tables by each call.
#pragma once

#include <vector>

#include "bindings/compiled/tree.hpp"

namespace peri::lua::compiled {

// A field of the arguments' table of this number, from 1, that the traced function has set.
struct ChangedField {
  int table;
  Tree key, value;
  bool operator==(const ChangedField&) const = default;
};

// Where the arguments have that table: the argument, from 1, and the keys from there.
struct TablePath {
  int table;
  int argument;
  std::vector<Tree> keys{};
  bool operator==(const TablePath&) const = default;
};

// The copies that a trace works on, at two stack indices that it pushes when it is made.
class TracedTables {
 public:
  explicit TracedTables(lua_State* L);
  // For unflatten, of the arguments.
  TableIndex index() const { return {.made = made_}; }
  // Remembers the copies as they are now. For flatten, of what comes back: they are tables of the arguments.
  MetTables remember(lua_State* L);
  // What has been set since then, in an order that all ranks share; tensors go to `leaves`. Errors: a value
  // or a key that cannot be set again at each call; another metatable.
  Result<std::vector<ChangedField>> changed(lua_State* L, std::vector<session::ScriptValue>& leaves,
                                            MetTables& tables) const;

 private:
  Result<std::vector<Tree>> changed_keys(lua_State* L, int now, int before) const;
  int made_, before_;
  int count_ = 0;
};

// Where the tables are that a trace's results, in these trees, name as tables of the arguments, and those in
// which it has changed fields.
std::vector<TablePath> paths_of(const Tree& arguments, const std::vector<const Tree*>& results,
                                const std::vector<ChangedField>& changed);
// Pushes a table of the tables at these paths, by number. `first`: stack index of the first argument.
void push_tables(lua_State* L, int first, const std::vector<TablePath>& paths);
// Sets a field; tensors are taken from `leaves`.
void set_field(lua_State* L, const ChangedField& field, std::vector<session::ScriptValue>& leaves,
               const TableIndex& tables);

}  // namespace peri::lua::compiled
