// What a compiled function captures: the variables outside of it that its Lua function and the functions
// which it reaches through such variables use (upvalues). A compilation is valid for their values as they
// were when the function was traced. They are compared at each call, so this is made to be fast: 20 take less
// than 1 us. Fields of captured tables, and what functions in such fields capture, are not compared.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "bindings/compiled/tree.hpp"
#include "bindings/lua/lua.hpp"
#include "bindings/session/value.hpp"

namespace peri::lua::compiled {

// Variables, by the address of the cell that closures share, whose tensors are replaced from call to call.
using ReplacedTensors = std::set<const void*>;

struct Captured {
  std::string name;
  // Among the functions that were reached, and there: both from 1.
  int function, upvalue;
  const void* cell;
  // Of the value: LUA_TNIL and so on; and its bits if it is a number or a boolean, else its address.
  int type;
  uint64_t bits;
  // A tensor that is passed to the program at each call, like an argument; only its type is compared.
  bool is_input;
};

// A variable that the traced function has set: what to set it to after each call.
struct Assigned {
  size_t captured;
  // Tensors are among the results' leaves.
  Tree value;
};

class Captures {
 public:
  // What the function in the registry captures now. Tensors of `replaced` variables become inputs.
  static Result<Captures> take(lua_State* L, int function, const ReplacedTensors& replaced);
  Captures(Captures&& other) noexcept;
  Captures& operator=(Captures&&) = delete;
  ~Captures();

  // Whether the variables have the same values now; then the inputs' tensors are appended to `tensors`.
  bool match(lua_State* L, std::vector<const kernels::Tensor*>& tensors) const;
  // The first variable that has another value; nullptr if there is none.
  const Captured* first_change(lua_State* L) const;
  // Variables that held a tensor, and now hold another.
  void find_replaced(lua_State* L, ReplacedTensors& replaced) const;

  // The tensors that the program gets behind its arguments.
  std::vector<session::ScriptValue> inputs(lua_State* L) const;
  // For a trace: the inputs' variables hold `symbols` until `restore`, after which every variable is as it
  // was; after an error of the function's own only those that hold symbols are.
  enum class Restore : uint8_t { all, symbols };
  void put(lua_State* L, std::vector<session::ScriptValue> symbols);
  void restore(lua_State* L, Restore which) const;
  // Variables that the traced function has set; their tensors go to `leaves`. Error: set to something that
  // cannot be set again at each call.
  Result<std::vector<Assigned>> assigned(lua_State* L, std::vector<session::ScriptValue>& leaves,
                                         MetTables& tables) const;
  // Sets a variable to the value at the stack's top, which is popped.
  void assign(lua_State* L, size_t captured) const;

  // A line each, "n = 2", for errors about ranks that differ.
  std::string describe(lua_State* L) const;

 private:
  Captures(lua_State* state, int functions, int values)
      : lua_(state), functions_(functions), values_(values) {}
  void take_upvalues(lua_State* L, int function, const ReplacedTensors& replaced,
                     std::set<const void*>& seen);
  Status make_readers(lua_State* L);
  // Calls visit(captured, stack index of its present value) until it returns false.
  template <class Visit>
  void for_each(lua_State* L, Visit visit) const;

  lua_State* lua_;
  // Tables in the registry: the functions, in the order in which they were reached; the values by position.
  int functions_, values_;
  int function_count_ = 0;
  std::vector<Captured> captured_;
  // In the registry: functions that return the values, some of them each.
  std::vector<int> readers_;
  // While traced: the addresses of the inputs' symbols, in order.
  std::vector<const void*> symbols_;
};

}  // namespace peri::lua::compiled
