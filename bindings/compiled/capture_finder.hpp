// Where a function's captured values are: variables of its own and of the functions that it reaches, and the
// fields of captured tables that it may read.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "bindings/lua/lua.hpp"

namespace peri::lua::compiled {

// A variable's cell, which closures share, and ""; or a table and the key as text.
using Place = std::pair<const void*, std::string>;
// Places whose tensors are replaced from call to call.
using ReplacedTensors = std::set<Place>;

struct Captured {
  // As errors show it: "n", "model.w", "layers[2]".
  std::string name;
  Place place;
  // The function or table that has it, from 1 among all of them.
  int owner;
  // A variable: which of the function's, from 1. A field: 0, and its key, which is a position in the list if
  // that is not 0.
  int upvalue;
  std::string key;
  int position;
  // The table has a metatable.
  bool is_raw;
  // Of the value: LUA_TNIL and so on; and its bits if it is a number or a boolean, else its address.
  int type;
  uint64_t bits;
  // A tensor that is passed to the program at each call, like an argument, if the function uses it; only its
  // type is compared.
  bool is_input;
  // Then: the number of the program's input, from 0; -1: the function does not use it.
  int input = -1;
};

// The value's bits, as above.
uint64_t bits_at(lua_State* L, int index, int type);

// What the function at the stack's top, which is popped, captures now. Fields are those that it or a function
// which it reaches names, lists, and all names of tables where a function calls pairs; at most kMaxFields.
// Absent fields are found in tables that variables hold. The Lua tables at the indices `owners` and `values`
// get the owners and the values. Tensors in `replaced` places become inputs.
inline constexpr size_t kMaxFields = 200;
std::vector<Captured> find_captured(lua_State* L, int owners, int values, const ReplacedTensors& replaced);

// For find_captured: remembers what it needs of Lua's library, before a script changes that.
void register_finder(lua_State* L);

}  // namespace peri::lua::compiled
