// A compiled function as Lua sees it, and what a call of it does.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bindings/compiled/argument_tables.hpp"
#include "bindings/compiled/captures.hpp"
#include "bindings/compiled/signature.hpp"
#include "bindings/session/compiled.hpp"

namespace peri::lua::compiled {

// What a function does with symbols of its arguments' types.
struct Traced {
  Graph graph;
  // The tensors of its constants, and the captured ones that it changes in place.
  std::vector<kernels::Tensor> constants, written;
  // Leaves by position in `returned`, also those of `assigned` and `changed`.
  Tree results;
  std::vector<session::Returned> returned;
  std::vector<Assigned> assigned;
  std::vector<ChangedField> changed;
  // The tables of the arguments that are changed or returned.
  std::vector<TablePath> tables;
  // Whether a new table stands in several places of the results.
  bool repeats_tables = false;
};

struct Specialisation {
  Signature signature;
  Captures captures;
  // Its graph has become the program's.
  Traced traced;
  session::CompiledProgram program;
};

struct LuaCompiled {
  static constexpr const char* kLuaName = "peri.Compiled";
  int function = LUA_NOREF;  // in the registry
  std::string name;          // file:line of the function
  planner::Policy policy;
  Group agreement;
  // Every call is traced and compared with what was compiled.
  bool check = false;
  // In the order in which they were compiled.
  std::vector<std::unique_ptr<Specialisation>> specialisations{};
  // The same; the one that was called last, which explain() and the like describe, comes first.
  std::vector<Specialisation*> recent{};
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
