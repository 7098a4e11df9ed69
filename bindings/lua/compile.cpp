// See compile.hpp.
#include "bindings/lua/compile.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
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
  Signature signature;
  session::CompiledProgram program;
  Tree results;  // leaves by position in `returned`
  std::vector<session::Returned> returned;
  // Captured tensors that the function changes in place: they follow its arguments.
  std::vector<kernels::Tensor> written;
};

struct LuaCompiled {
  static constexpr const char* kLuaName = "peri.Compiled";
  int function = LUA_NOREF;  // in the registry
  std::string name;          // file:line of the function
  planner::Policy policy;
  Group agreement;
  // In the order in which they were compiled.
  std::vector<std::unique_ptr<Specialisation>> specialisations{};
  // The same; the one that was called last, which explain() and the like describe, comes first.
  std::vector<Specialisation*> recent{};
  // Scratch of a call, which takes it as long as it lasts.
  std::vector<const kernels::Tensor*> tensors{};
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
                           std::vector<session::ScriptValue> leaves,
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
Result<std::unique_ptr<Specialisation>> specialise(lua_State* L, LuaCompiled& compiled, Signature signature,
                                                   const std::vector<session::ScriptValue>& inputs) {
  session::Session& s = session(L);
  auto trace = std::make_shared<session::Trace>(s.rank());
  std::vector<session::ScriptValue> symbols, results;
  for (const session::ScriptValue& v : inputs)
    symbols.push_back(
        PERI_TRY(trace->input(v.type(), v.tensor().view, v.tensor().storage->allocator(), v.made)));
  Tree tree = PERI_TRY([&] {
    const session::Session::Tracing tracing(s, trace);
    return call_function(L, compiled.function, signature.arguments(), std::move(symbols), results);
  }());
  Graph graph = PERI_TRY(trace->finish(results));
  session::CompiledProgram program =
      PERI_TRY(compile(s, std::move(graph), trace->constants(), compiled.policy, compiled.agreement));
  return std::make_unique<Specialisation>(Specialisation{
      std::move(signature), std::move(program), std::move(tree), trace->returned(), trace->written()});
}

Result<Tree> take_arguments(lua_State* L, std::vector<session::ScriptValue>& leaves) {
  Tree arguments;
  arguments.kind = Tree::Kind::table;
  for (int i = 2; i <= lua_gettop(L); ++i)
    arguments.items.emplace_back(Tree{}, PERI_TRY(flatten(L, i, leaves)));
  return arguments;
}

int push_results(lua_State* L, const Tree& tree, std::vector<session::ScriptValue>& results) {
  for (const auto& [key, item] : tree.items) unflatten(L, item, results);
  return static_cast<int>(tree.items.size());
}

// Inside another compiled function: its operations join that function's.
Result<int> inline_call(lua_State* L, const LuaCompiled& compiled) {
  std::vector<session::ScriptValue> leaves, results;
  const Tree arguments = PERI_TRY(take_arguments(L, leaves));
  const Tree tree = PERI_TRY(call_function(L, compiled.function, arguments, std::move(leaves), results));
  return push_results(L, tree, results);
}

Specialisation* called(LuaCompiled& compiled, std::vector<Specialisation*>::iterator which) {
  std::rotate(compiled.recent.begin(), which, which + 1);
  return compiled.recent.front();
}

// The usual case, without taking anything apart: the arguments are like those of one of the last calls.
// nullptr if not.
Specialisation* find_recent(lua_State* L, LuaCompiled& compiled,
                            std::vector<const kernels::Tensor*>& tensors) {
  constexpr int64_t kTried = 4;
  const auto end = compiled.recent.begin() + std::min(std::ssize(compiled.recent), kTried);
  const auto found = std::find_if(compiled.recent.begin(), end, [&](const Specialisation* candidate) {
    return candidate->signature.matches(L, 2, tensors);
  });
  return found == end ? nullptr : called(compiled, found);
}

// Takes the arguments apart, and compiles for them if that has not been done. `leaves` keep the tensors.
Result<Specialisation*> find_or_compile(lua_State* L, LuaCompiled& compiled,
                                        std::vector<session::ScriptValue>& leaves) {
  Tree arguments = PERI_TRY(take_arguments(L, leaves));
  for (const session::ScriptValue& v : leaves)
    if (v.is_symbol())
      return fail(Code::InvalidArgument,
                  "a symbolic tensor of a function that has been traced is passed to a compiled function",
                  origin(L));
  Signature signature(std::move(arguments), leaves);
  const auto found = std::ranges::find(compiled.recent, signature, &Specialisation::signature);
  if (found != compiled.recent.end()) return called(compiled, found);
  const auto end_compiling = [](bool* compiling) { *compiling = false; };
  const std::unique_ptr<bool, decltype(end_compiling)> compiling(&compiled.compiling, end_compiling);
  compiled.compiling = true;
  compiled.specialisations.push_back(PERI_TRY(specialise(L, compiled, std::move(signature), leaves)));
  compiled.recent.push_back(compiled.specialisations.back().get());
  return called(compiled, compiled.recent.end() - 1);
}

// The caller's tensors, from what a call has made and what it was given.
Result<std::vector<session::ScriptValue>> take_results(lua_State* L, const Specialisation& entry,
                                                       std::vector<kernels::Tensor> outputs,
                                                       const std::vector<const kernels::Tensor*>& arguments) {
  const Origin here = origin(L);
  std::vector<session::ScriptValue> results;
  results.reserve(entry.returned.size());
  for (const session::Returned& r : entry.returned) {
    switch (r.from) {
      case session::Returned::From::output:
        results.push_back({outputs[r.index], here});
        break;
      case session::Returned::From::argument:
        results.push_back({*arguments[r.index], here});
        break;
      case session::Returned::From::captured:
        results.push_back({r.captured, here});
        break;
    }
    for (const auto& [op, attributes] : r.views)
      results.back() = PERI_TRY(session(L).apply(op, {results.back()}, attributes, here));
  }
  return results;
}

Result<int> call_compiled(lua_State* L) {
  LuaCompiled* compiled = PERI_TRY(to_compiled(L, "compiled function"));
  if (session(L).trace()) return inline_call(L, *compiled);
  if (compiled->compiling)
    return fail(Code::InvalidArgument, fmt::format("{} is called while it is compiled", compiled->name),
                origin(L), "its policy must not call it");
  std::vector<const kernels::Tensor*> tensors = std::move(compiled->tensors);
  std::vector<session::ScriptValue> leaves;
  Specialisation* entry = find_recent(L, *compiled, tensors);
  if (entry && !entry->program.executable->has_free_outputs()) {
    const bool collected =
        collector(L).collect_for(L, [&] { return entry->program.executable->has_free_outputs(); });
    if (collected) entry = find_recent(L, *compiled, tensors);  // finalizers may have changed the arguments
  }
  if (!entry) {
    entry = PERI_TRY(find_or_compile(L, *compiled, leaves));
    tensors.clear();
    for (const session::ScriptValue& v : leaves) tensors.push_back(&v.tensor());
  }
  for (const kernels::Tensor& t : entry->written) tensors.push_back(&t);
  std::vector<kernels::Tensor> outputs = PERI_TRY(entry->program.executable->call(tensors));
  std::vector<session::ScriptValue> results = PERI_TRY(take_results(L, *entry, std::move(outputs), tensors));
  compiled->tensors = std::move(tensors);
  return push_results(L, entry->results, results);
}

Result<Specialisation*> last_of(lua_State* L, const char* what) {
  LuaCompiled* compiled = PERI_TRY(to_compiled(L, what));
  if (compiled->recent.empty())
    return fail(Code::InvalidArgument,
                fmt::format("{}: the function has not been called yet, so nothing is compiled", what),
                origin(L), "call it once with the inputs you mean");
  return compiled->recent.front();
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
  for (BufferId id : executable.plan().buffers.ids()) {
    const std::byte* address = executable.address(id);
    if (!address) continue;
    lua_pushstring(L, fmt::format("{}", static_cast<const void*>(address)).c_str());
    lua_setfield(L, -2, executable.plan().buffer(id).name.c_str());
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
    for (const auto& specialisation : compiled->specialisations) {
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
  push_metatable<LuaCompiled>(L);
  lua_pushcfunction(L, compiled_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  lua_pushcfunction(L, wrap<make_compiled>);
  lua_setfield(L, -2, "compile");
}

}  // namespace peri::lua
