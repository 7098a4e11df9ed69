// See policy.hpp.
#include "bindings/lua/policy.hpp"

#include "bindings/lua/arguments.hpp"
#include "core/ops/collective.hpp"

#include <fmt/format.h>

#include <functional>
#include <map>

namespace peri::lua {
namespace {

Result<int> unknown_context_field(lua_State* L) {
  std::vector<std::string> known;
  lua_pushnil(L);
  while (lua_next(L, 1)) {
    known.emplace_back(lua_tostring(L, -2));
    lua_pop(L, 1);
  }
  return std::unexpected(unknown("field of the op that a policy is asked about",
                                 lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : type_name(L, 2), known,
                                 origin(L), "op_context"));
}

void push_context(lua_State* L, const planner::OpContext& context) {
  lua_newtable(L);
  auto text = [L](const char* name, const std::string& value) {
    lua_pushlstring(L, value.data(), value.size());
    lua_setfield(L, -2, name);
  };
  text("op", std::string(to_string(context.op)));
  text("dtype", to_string(context.dtype));
  text("reduce", context.reduce);
  text("machine", context.machine);
  text("at", context.origin.to_string());
  lua_pushnumber(L, static_cast<double>(context.bytes.count()));
  lua_setfield(L, -2, "bytes");
  lua_pushnumber(L, static_cast<double>(context.ll_bytes.count()));
  lua_setfield(L, -2, "ll_bytes");
  lua_pushinteger(L, context.group_size);
  lua_setfield(L, -2, "group_size");
  lua_newtable(L);
  for (int i = 0; i < context.shape.rank(); ++i) {
    lua_pushnumber(L, static_cast<double>(context.shape[i]));
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "shape");
  lua_newtable(L);
  lua_pushcfunction(L, wrap<unknown_context_field>);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

// The fields that name an algorithm are named like their op.
Result<std::string> read_result(lua_State* L, const std::string& field, std::string*) {
  if (lua_isnil(L, -1)) return std::string();  // the planner decides
  std::string name = PERI_TRY(to_text(L, -1, ("policy." + field).c_str()));
  PERI_TRY(check_algorithm(*find_op(field), name, origin(L)));
  return name;
}
Result<bool> read_result(lua_State* L, const std::string& field, bool*) {
  if (!lua_isboolean(L, -1) && !lua_isnil(L, -1))
    return fail(Code::InvalidArgument,
                fmt::format("policy.{} must give true or false, not {}", field, type_name(L, -1)));
  return lua_toboolean(L, -1) != 0;
}

// A function is called for every operation; anything else is the answer for all of them.
template <class T>
Status read_choice(lua_State* L, const std::string& field, planner::Choice<T>& choice) {
  if (!lua_isfunction(L, -1)) {
    Result<T> answer = read_result(L, field, static_cast<T*>(nullptr));
    if (!answer) return std::unexpected(named(std::move(answer).error(), "policy." + field));
    choice = [answer](const planner::OpContext&) { return answer; };
    return {};
  }
  if (lua_pushthread(L) == 1)
    lua_pop(L, 1);  // the main one stays
  else
    luaL_ref(L, LUA_REGISTRYINDEX);  // the coroutine in which the function will be called
  lua_pushvalue(L, -1);
  const int reference = luaL_ref(L, LUA_REGISTRYINDEX);
  choice = [L, reference, field](const planner::OpContext& context) -> Result<T> {
    auto refuse = [&](Error error) {
      error = named(std::move(error), "policy." + field);
      error.context.push_back(fmt::format("asked about {}{}{}", to_string(context.op),
                                          context.origin.known() ? " at " : "", context.origin.to_string()));
      return std::unexpected(std::move(error));
    };
    lua_rawgeti(L, LUA_REGISTRYINDEX, reference);
    push_context(L, context);
    if (lua_pcall(L, 1, 1, 0) != 0) return refuse(take_error(L));
    Result<T> answer = read_result(L, field, static_cast<T*>(nullptr));
    lua_pop(L, 1);
    if (!answer) return refuse(std::move(answer).error());
    return answer;
  };
  return {};
}

template <class E>
Status read_word(lua_State* L, const std::string& field, const std::map<std::string, E>& words, E& into) {
  const std::string word = PERI_TRY(to_text(L, -1, ("policy." + field).c_str()));
  auto found = words.find(word);
  if (found == words.end()) {
    std::vector<std::string> names;
    for (const auto& [name, value] : words) names.push_back(name);
    Error error = unknown("value of policy." + field, word, names, origin(L));
    if (error.hint.empty()) error.hint = fmt::format("this version has: {}", fmt::join(names, ", "));
    return std::unexpected(std::move(error));
  }
  into = found->second;
  return {};
}

Status read_bool(lua_State* L, const std::string& field, bool& into) {
  if (!lua_isboolean(L, -1))
    return fail(Code::InvalidArgument,
                fmt::format("policy.{} must be true or false, not {}", field, type_name(L, -1)), origin(L));
  into = lua_toboolean(L, -1) != 0;
  return {};
}

// A field of which there is one value yet: scripts may say it.
Status read_only_word(lua_State* L, const std::string& field, const std::string& word) {
  bool said = false;
  return read_word(L, field, std::map<std::string, bool>{{word, true}}, said);
}

Status read_bytes(lua_State* L, const std::string& field, std::optional<Bytes>& into) {
  into = Bytes(PERI_TRY(to_integer(L, -1, ("policy." + field).c_str())));
  return {};
}

Status read_skip(lua_State* L, std::vector<std::string>& into) {
  if (!lua_istable(L, -1))
    return fail(Code::InvalidArgument, "policy.skip must be a table of pass names", origin(L));
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, -1)); ++i) {
    lua_rawgeti(L, -1, i);
    auto name = to_text(L, -1, "policy.skip");
    lua_pop(L, 1);
    into.push_back(PERI_TRY(name));
  }
  return {};
}

using Reader = std::function<Status(lua_State*, planner::Policy&)>;

// One row per field of a policy, and one per collective that has a choice of algorithms; policy.hpp says what
// each means.
std::map<std::string, Reader> make_readers() {
  std::map<std::string, Reader> table = {
      {"auto_select",
       [](lua_State* L, planner::Policy& p) { return read_bool(L, "auto_select", p.auto_select); }},
      {"ll_bytes", [](lua_State* L, planner::Policy& p) { return read_bytes(L, "ll_bytes", p.ll_bytes); }},
      {"one_shot_bytes",
       [](lua_State* L, planner::Policy& p) { return read_bytes(L, "one_shot_bytes", p.one_shot_bytes); }},
      {"lowering",
       [](lua_State* L, planner::Policy& p) {
         return read_word(
             L, "lowering",
             {{"out_variant", planner::Lowering::out_variant}, {"fallback", planner::Lowering::fallback}},
             p.lowering);
       }},
      {"planning",
       [](lua_State* L, planner::Policy& p) {
         return read_word(L, "planning",
                          {{"reuse", planner::Planning::reuse}, {"separate", planner::Planning::separate}},
                          p.planning);
       }},
      {"barriers", [](lua_State* L, planner::Policy&) { return read_only_word(L, "barriers", "full"); }},
      {"epilogues", [](lua_State* L, planner::Policy& p) { return read_bool(L, "epilogues", p.epilogues); }},
      {"capture", [](lua_State* L, planner::Policy& p) { return read_bool(L, "capture", p.capture); }},
      {"split", [](lua_State* L, planner::Policy& p) { return read_choice(L, "split", p.split); }},
      {"skip", [](lua_State* L, planner::Policy& p) { return read_skip(L, p.skip); }},
  };
  for (const CollectiveInfo& row : collectives()) {
    if (!row.has_choice()) continue;
    const std::string name(to_string(row.op));
    table[name] = [name, op = row.op](lua_State* L, planner::Policy& p) {
      return read_choice(L, name, p.algorithms[op]);
    };
  }
  return table;
}
const std::map<std::string, Reader>& readers() {
  static const std::map<std::string, Reader> table = make_readers();
  return table;
}

Error unknown_field(lua_State* L, const std::string& field) {
  Error error = unknown("policy field", field, policy_fields(), origin(L), "policy");
  // Earlier versions had these.
  if (field == "fuse") error.hint = "write skip = {\"fuse\"} for fuse = false";
  if (field == "reuse") error.hint = "write planning = \"separate\" for reuse = false";
  return error;
}

}  // namespace

std::vector<std::string> policy_fields() {
  std::vector<std::string> names;
  for (const auto& [name, reader] : readers()) names.push_back(name);
  return names;
}

Result<planner::Policy> read_policy(lua_State* L, int index) {
  if (!lua_istable(L, index))
    return fail(Code::InvalidArgument, "policy must be a table, not " + type_name(L, index), origin(L));
  planner::Policy policy;
  lua_pushvalue(L, index);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    const std::string field = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : type_name(L, -2);
    auto reader = readers().find(field);
    if (reader == readers().end()) return std::unexpected(unknown_field(L, field));
    PERI_TRY(reader->second(L, policy));
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return policy;
}

}  // namespace peri::lua
