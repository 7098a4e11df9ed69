// See compile.hpp.
#include "bindings/compiled/compile.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "bindings/compiled/function.hpp"
#include "bindings/lua/policy.hpp"
#include "bindings/lua/tensor.hpp"
#include "core/bytes.hpp"
#include "core/env.hpp"

namespace peri::lua::compiled {
namespace {

constexpr const char* kAllCompiled = "peri.all_compiled";

Result<Specialisation*> last_of(lua_State* L, const char* what) {
  LuaCompiled* compiled = PERI_TRY(to_compiled(L, what));
  const std::vector<Specialisation*>& recent = compiled->specialisations.recent();
  if (recent.empty())
    return fail(Code::InvalidArgument,
                fmt::format("{}: the function has not been called yet, so nothing is compiled", what),
                origin(L), "call it once with the inputs you mean");
  return recent.front();
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

// Of the last call's plan, and of the memory that calls of the function use.
Result<int> compiled_stats(lua_State* L) {
  auto statistics = PERI_TRY(last_of(L, "stats"))->program.statistics();
  const Specialisations& all = PERI_TRY(to_compiled(L, "stats"))->specialisations;
  const cudagraph::SharedMemory& shared = session(L).shared_memory();
  statistics["plans"] = static_cast<double>(all.size());
  statistics["output_bytes"] = static_cast<double>(all.kept_bytes().count());
  statistics["shared_bytes"] = static_cast<double>(shared.ordinary_bytes().count());
  statistics["comm_bytes"] = static_cast<double>(shared.symmetric_bytes().count());
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
  const Specialisations& all = compiled->specialisations;
  const cudagraph::SharedMemory& shared = session(L).shared_memory();
  return push_text(
      L, fmt::format("compiled function {} ({} plan{}, {} for results, {} shared by all functions)",
                     compiled->name, all.size(), all.size() == 1 ? "" : "s", short_bytes(all.kept_bytes()),
                     short_bytes(shared.ordinary_bytes() + shared.symmetric_bytes())));
}

// At the top of the stack.
Result<int64_t> read_limit(lua_State* L) {
  constexpr double kMax = 1 << 20;
  const double limit = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : 0;
  if (limit >= 1 && limit <= kMax && limit == std::floor(limit)) return static_cast<int64_t>(limit);
  return fail(
      Code::InvalidArgument,
      "compile: plans must be a whole number from 1, not " +
          (lua_type(L, -1) == LUA_TNUMBER ? fmt::format("{}", lua_tonumber(L, -1)) : type_name(L, -1)),
      origin(L));
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
    else if (field == "check" && lua_isboolean(L, -1))
      compiled.check = lua_toboolean(L, -1) != 0;
    else if (field == "check")
      return fail(Code::InvalidArgument, "compile: check must be true or false, not " + type_name(L, -1),
                  origin(L));
    else if (field == "plans")
      compiled.specialisations = Specialisations(PERI_TRY(read_limit(L)));
    else
      return std::unexpected(
          named(unknown("option", field, {"policy", "group", "check", "plans"}, origin(L)), "compile"));
    lua_pop(L, 1);
  }
  return {};
}

Result<int> make_compiled(lua_State* L) {
  if (!lua_isfunction(L, 1))
    return fail(Code::InvalidArgument, "compile: takes a function, not " + type_name(L, 1), origin(L));
  LuaCompiled options;
  options.agreement = session(L).world();
  options.check = environment().check;
  PERI_TRY(read_options(L, options));
  lua_Debug frame;
  lua_pushvalue(L, 1);
  lua_getinfo(L, ">S", &frame);
  LuaCompiled& compiled = push<LuaCompiled>(L);
  compiled.name = fmt::format("{}:{}", frame.short_src, frame.linedefined);
  compiled.policy = std::move(options.policy);
  compiled.agreement = std::move(options.agreement);
  compiled.check = options.check;
  compiled.specialisations = std::move(options.specialisations);
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
    for (const auto& specialisation : compiled->specialisations.all()) {
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
  register_finder(L);
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

}  // namespace peri::lua::compiled
