// A compiled function as Lua sees it, and what a call of it does.
#pragma once

#include <string>
#include <vector>

#include "bindings/compiled/specialisations.hpp"

namespace peri::lua::compiled {

struct LuaCompiled {
  static constexpr const char* kLuaName = "peri.Compiled";
  int function = LUA_NOREF;  // in the registry
  std::string name;          // file:line of the function
  planner::Policy policy;
  Group agreement;
  // Every call is traced and compared with what was compiled.
  bool check = false;
  Specialisations specialisations{Specialisations::kDefaultLimit};
  ReplacedTensors replaced{};
  // Which captured variable was the reason to compile in the last calls, and how often.
  Place changing{};
  int changes_in_a_row = 0;
  bool warned = false;
  // Scratch of a call, which takes it as long as it lasts.
  std::vector<const kernels::Tensor*> tensors{};
  bool compiling = false;
};

Result<LuaCompiled*> to_compiled(lua_State* L, const char* what);
// __call
Result<int> call_compiled(lua_State* L);

// Whether `now`, which was traced with the same arguments, does what was compiled. Error: the first line that
// differs.
Status check_traced(const LuaCompiled& compiled, const Specialisation& entry, const Traced& now);

}  // namespace peri::lua::compiled
