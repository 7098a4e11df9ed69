// What a compiled function captures: the values of the places that capture_finder finds. A compilation is
// valid for their values as they were when the function was traced. They are compared at each call, so this
// is made to be fast: 20 take less than 1 us.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "bindings/compiled/capture_finder.hpp"
#include "bindings/compiled/tree.hpp"
#include "bindings/lua/lua.hpp"
#include "bindings/session/value.hpp"

namespace peri::lua::compiled {

// A captured variable or field that the traced function has set: what to set it to after each call.
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

  // Whether the places have the same values now; then `tensors`, which are the arguments', have those of the
  // inputs, too.
  bool match(lua_State* L, std::vector<const kernels::Tensor*>& tensors) const;
  // The first place that has another value; nullptr if there is none.
  const Captured* first_change(lua_State* L) const;
  // Places that held a tensor, and now hold another.
  void find_replaced(lua_State* L, ReplacedTensors& replaced) const;

  // The tensors that the program may get behind its arguments; and which inputs they are, -1: none.
  std::vector<session::ScriptValue> inputs(lua_State* L) const;
  void number_inputs(const std::vector<int>& numbers);
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
  explicit Captures(lua_State* state) : lua_(state) {}
  Result<size_t> make_reader(lua_State* L, size_t first);
  // Calls visit(captured, stack index of its present value) until it returns false.
  template <class Visit>
  void for_each(lua_State* L, Visit visit) const;

  lua_State* lua_;
  // Tables in the registry: the functions and tables that have the places; the values by position.
  int owners_ = LUA_NOREF, values_ = LUA_NOREF;
  std::vector<Captured> captured_;
  // In the registry: functions that return the values, some of them each.
  std::vector<int> readers_;
  size_t input_count_ = 0;
  // While traced: the addresses of the inputs' symbols, in order.
  std::vector<const void*> symbols_;
};

}  // namespace peri::lua::compiled
