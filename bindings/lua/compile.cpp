// See compile.hpp.
#include "bindings/lua/compile.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <memory>

#include "bindings/lua/collector.hpp"
#include "bindings/lua/policy.hpp"
#include "bindings/lua/tensor.hpp"
#include "bindings/lua/tree.hpp"
#include "bindings/session/compiled.hpp"

namespace peri::lua {
namespace {

constexpr const char* kAllCompiled = "peri.all_compiled";

struct Specialisation {
  session::CompiledProgram program;
  Tree results;  // leaves by position among the executable's outputs
};

struct LuaCompiled {
  static constexpr const char* kLuaName = "peri.Compiled";
  int function = LUA_NOREF;  // in the registry
  std::string name;          // file:line of the function
  planner::Policy policy;
  Group agreement;
  std::map<std::string, std::unique_ptr<Specialisation>> specialisations{};  // by input signature
  Specialisation* last = nullptr;  // what explain() and the like describe
  bool compiling = false;
};

Result<LuaCompiled*> to_compiled(lua_State* L, const char* what) {
  if (auto* compiled = test<LuaCompiled>(L, 1)) return compiled;
  return fail(Code::InvalidArgument,
              fmt::format("{}: called on {}, not on a compiled function", what, type_name(L, 1)), origin(L));
}

constexpr int kDeepest = 100;  // compiled functions inside one another: each takes some of the C stack

// Runs the Lua function on the `count` values above the stack's `base`, which are popped; its results are
// taken apart.
Result<Tree> call_function(lua_State* L, int function, const Tree& arguments,
                           const std::vector<session::ScriptValue>& leaves,
                           std::vector<session::ScriptValue>& results) {
  const session::Session::Nested nested(session(L));
  if (nested.depth() > kDeepest)
    return fail(Code::InvalidArgument,
                fmt::format("compiled functions call each other more than {} deep", kDeepest), origin(L),
                "a function that calls itself must end by its plain arguments, not by tensors' values");
  const int base = lua_gettop(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, function);
  luaL_checkstack(L, static_cast<int>(arguments.items.size()) + 8, "too many arguments");
  for (const auto& [key, item] : arguments.items) unflatten(L, item, leaves);
  if (lua_pcall(L, static_cast<int>(arguments.items.size()), LUA_MULTRET, 0) != 0)
    return std::unexpected(take_error(L));
  Tree tree;
  tree.kind = Tree::Kind::table;
  for (int i = base + 1; i <= lua_gettop(L); ++i)
    tree.items.emplace_back(Tree{}, PERI_TRY(flatten(L, i, results)));
  lua_settop(L, base);
  return tree;
}

// Traces the function on symbols of the arguments' types, and compiles the graph.
Result<std::unique_ptr<Specialisation>> specialise(lua_State* L, LuaCompiled& compiled, const Tree& arguments,
                                                   const std::vector<session::ScriptValue>& inputs) {
  session::Session& s = session(L);
  auto trace = std::make_shared<session::Trace>();
  std::vector<session::ScriptValue> symbols, results;
  for (const session::ScriptValue& v : inputs)
    symbols.push_back(PERI_TRY(trace->input(v.type(), v.tensor().storage->allocator(), v.made)));
  Tree tree = PERI_TRY([&] {
    const session::Session::Tracing tracing(s, trace);
    return call_function(L, compiled.function, arguments, symbols, results);
  }());
  std::vector<kernels::Tensor> constants;
  Graph graph = PERI_TRY(trace->finish(results));
  constants = trace->constants();
  session::CompiledProgram program =
      PERI_TRY(compile(s, std::move(graph), std::move(constants), compiled.policy, compiled.agreement));
  return std::make_unique<Specialisation>(Specialisation{std::move(program), std::move(tree)});
}

Result<int> call_compiled(lua_State* L) {
  LuaCompiled* compiled = PERI_TRY(to_compiled(L, "compiled function"));
  session::Session& s = session(L);
  std::vector<session::ScriptValue> leaves, results;
  Tree arguments;
  arguments.kind = Tree::Kind::table;
  for (int i = 2; i <= lua_gettop(L); ++i)
    arguments.items.emplace_back(Tree{}, PERI_TRY(flatten(L, i, leaves)));
  const Origin here = origin(L);
  if (s.trace()) {  // inside another compiled function: its operations join that function's
    const Tree tree = PERI_TRY(call_function(L, compiled->function, arguments, leaves, results));
    for (const auto& [key, item] : tree.items) unflatten(L, item, results);
    return static_cast<int>(tree.items.size());
  }
  std::vector<kernels::Tensor> tensors;
  for (const session::ScriptValue& v : leaves) {
    if (v.is_symbol())
      return fail(Code::InvalidArgument,
                  "a symbolic tensor of a function that has been traced is passed to a compiled function",
                  here);
    tensors.push_back(v.tensor());
  }
  if (compiled->compiling)
    return fail(Code::InvalidArgument, fmt::format("{} is called while it is compiled", compiled->name), here,
                "its policy must not call it");
  std::string signature;
  append_signature(arguments, leaves, signature);
  std::unique_ptr<Specialisation>& entry = compiled->specialisations[signature];
  if (!entry) {
    const auto end_compiling = [](bool* compiling) { *compiling = false; };
    const std::unique_ptr<bool, decltype(end_compiling)> compiling(&compiled->compiling, end_compiling);
    compiled->compiling = true;
    auto made = specialise(L, *compiled, arguments, leaves);
    if (!made) {
      compiled->specialisations.erase(signature);
      return std::unexpected(made.error());
    }
    entry = std::move(*made);
  }
  compiled->last = entry.get();
  cudagraph::Executable& executable = *entry->program.executable;
  const auto is_enough = [&] { return executable.has_free_outputs(); };
  if (!is_enough()) collector(L).collect_for(L, is_enough);
  for (kernels::Tensor& t : PERI_TRY(executable.call(tensors))) results.push_back({std::move(t), here});
  for (const auto& [key, item] : entry->results.items) unflatten(L, item, results);
  return static_cast<int>(entry->results.items.size());
}

Result<Specialisation*> last_of(lua_State* L, const char* what) {
  LuaCompiled* compiled = PERI_TRY(to_compiled(L, what));
  if (!compiled->last)
    return fail(Code::InvalidArgument,
                fmt::format("{}: the function has not been called yet, so nothing is compiled", what),
                origin(L), "call it once with the inputs you mean");
  return compiled->last;
}

int push_text(lua_State* L, const std::string& text) {
  lua_pushlstring(L, text.data(), text.size());
  return 1;
}

Result<int> compiled_explain(lua_State* L) {
  return push_text(L, PERI_TRY(last_of(L, "explain"))->program.explain());
}
Result<int> compiled_code(lua_State* L) {
  return push_text(L, code(PERI_TRY(last_of(L, "code"))->program.executable->plan()));
}
Result<int> compiled_graph(lua_State* L) {
  return push_text(L, print(PERI_TRY(last_of(L, "graph"))->program.graph));
}
Result<int> compiled_dot(lua_State* L) {
  return push_text(L, print_dot(PERI_TRY(last_of(L, "dot"))->program.graph));
}
Result<int> compiled_plan(lua_State* L) {
  return push_text(L, print(PERI_TRY(last_of(L, "plan"))->program.executable->plan()));
}

Result<int> compiled_stats(lua_State* L) {
  const auto statistics = PERI_TRY(last_of(L, "stats"))->program.statistics();
  lua_newtable(L);
  for (const auto& [name, value] : statistics) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name.c_str());
  }
  return 1;
}

// Addresses of the plan's buffers as hexadecimal text, by name: how scripts and tests see that they stay.
Result<int> compiled_addresses(lua_State* L) {
  const cudagraph::Executable& executable = *PERI_TRY(last_of(L, "addresses"))->program.executable;
  lua_newtable(L);
  for (size_t i = 0; i < executable.plan().buffers.size(); ++i) {
    const std::byte* address = executable.address(BufferId(static_cast<int>(i)));
    if (!address) continue;
    lua_pushstring(L, fmt::format("{}", static_cast<const void*>(address)).c_str());
    lua_setfield(L, -2, executable.plan().buffers[i].name.c_str());
  }
  return 1;
}

Result<int> compiled_to_string(lua_State* L) {
  LuaCompiled* compiled = PERI_TRY(to_compiled(L, "tostring"));
  return push_text(
      L, fmt::format("compiled function {} ({} signature{})", compiled->name,
                     compiled->specialisations.size(), compiled->specialisations.size() == 1 ? "" : "s"));
}

Status read_options(lua_State* L, LuaCompiled& compiled) {
  if (lua_isnoneornil(L, 2)) return {};
  if (!lua_istable(L, 2))
    return fail(Code::InvalidArgument, "compile: options must be a table, not " + type_name(L, 2), origin(L));
  lua_pushnil(L);
  while (lua_next(L, 2)) {
    const std::string field = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : type_name(L, -2);
    if (field == "policy")
      compiled.policy = PERI_TRY(read_policy(L, lua_gettop(L)));
    else if (field == "group")
      compiled.agreement = PERI_TRY(to_group(L, lua_gettop(L)));
    else
      return std::unexpected(named(unknown("option", field, {"policy", "group"}, origin(L)), "compile"));
    lua_pop(L, 1);
  }
  return {};
}

Result<int> make_compiled(lua_State* L) {
  if (!lua_isfunction(L, 1))
    return fail(Code::InvalidArgument, "compile: takes a function, not " + type_name(L, 1), origin(L));
  LuaCompiled options;
  options.agreement = session(L).world();
  PERI_TRY(read_options(L, options));
  lua_Debug frame;
  lua_pushvalue(L, 1);
  lua_getinfo(L, ">S", &frame);
  LuaCompiled& compiled = push<LuaCompiled>(L);
  compiled.name = fmt::format("{}:{}", frame.short_src, frame.linedefined);
  compiled.policy = std::move(options.policy);
  compiled.agreement = std::move(options.agreement);
  lua_pushvalue(L, 1);
  compiled.function = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_getfield(L, LUA_REGISTRYINDEX, kAllCompiled);  // only `peri explain` keeps a list
  if (lua_istable(L, -1)) {
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, static_cast<int>(lua_objlen(L, -2)) + 1);
  }
  lua_pop(L, 1);
  return 1;
}

int compiled_gc(lua_State* L) {
  if (auto* compiled = test<LuaCompiled>(L, 1)) luaL_unref(L, LUA_REGISTRYINDEX, compiled->function);
  return collect<LuaCompiled>(L);
}

}  // namespace

void keep_compiled(lua_State* L) {
  lua_newtable(L);
  lua_setfield(L, LUA_REGISTRYINDEX, kAllCompiled);
}

std::vector<commands::ReportEntry> compiled_programs(lua_State* L) {
  std::vector<commands::ReportEntry> entries;
  lua_getfield(L, LUA_REGISTRYINDEX, kAllCompiled);
  const int count = lua_istable(L, -1) ? static_cast<int>(lua_objlen(L, -1)) : 0;
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, -1, i);
    const auto* compiled = test<LuaCompiled>(L, -1);
    lua_pop(L, 1);
    for (const auto& [signature, specialisation] : compiled->specialisations) {
      const planner::Plan& plan = specialisation->program.executable->plan();
      std::vector<std::string> types;
      for (BufferId id : plan.inputs) types.push_back(plan.buffer(id).type.to_string());
      entries.push_back(
          {fmt::format("{}({})", compiled->name, fmt::join(types, ", ")), &specialisation->program});
    }
  }
  lua_pop(L, 1);
  return entries;
}

void register_compile(lua_State* L) {
  register_type<LuaCompiled>(L, {{"explain", wrap<compiled_explain>},
                                 {"code", wrap<compiled_code>},
                                 {"graph", wrap<compiled_graph>},
                                 {"dot", wrap<compiled_dot>},
                                 {"plan", wrap<compiled_plan>},
                                 {"stats", wrap<compiled_stats>},
                                 {"addresses", wrap<compiled_addresses>},
                                 {"__call", wrap<call_compiled>},
                                 {"__tostring", wrap<compiled_to_string>}});
  luaL_getmetatable(L, LuaCompiled::kLuaName);
  lua_pushcfunction(L, compiled_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_pushcfunction(L, wrap<make_compiled>);
  lua_setfield(L, -2, "compile");
}

}  // namespace peri::lua
