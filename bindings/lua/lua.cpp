// See lua.hpp.
#include "bindings/lua/lua.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "bindings/lua/tensor.hpp"
#include "bindings/session/session.hpp"

namespace peri::lua {
namespace {

constexpr const char* kErrorMetatable = "peri.Error";
constexpr const char* kSessionKey = "peri.session";

// The Error itself travels in the table, so that nothing is lost between pcall and the top.
struct Carrier {
  static constexpr const char* kLuaName = "peri.ErrorCarrier";
  Error error;
};

int error_to_string(lua_State* L) {
  lua_getfield(L, 1, "text");
  return 1;
}

void set_field(lua_State* L, const char* name, const std::string& value) {
  lua_pushlstring(L, value.data(), value.size());
  lua_setfield(L, -2, name);
}

}  // namespace

void push_error(lua_State* L, Error error) {
  if (!error.where.known()) error.where = origin(L);
  lua_newtable(L);
  set_field(L, "code", to_string(error.code));
  set_field(L, "message", error.message);
  set_field(L, "at", error.where.to_string());
  set_field(L, "hint", error.hint);
  set_field(L, "text", error.to_string());
  lua_pushinteger(L, session(L).rank());
  lua_setfield(L, -2, "rank");
  if (luaL_newmetatable(L, Carrier::kLuaName)) {
    lua_pushcfunction(L, collect<Carrier>);
    lua_setfield(L, -2, "__gc");
  }
  lua_pop(L, 1);
  push<Carrier>(L, std::move(error));
  lua_setfield(L, -2, "carrier");
  if (luaL_newmetatable(L, kErrorMetatable)) {
    lua_pushcfunction(L, error_to_string);
    lua_setfield(L, -2, "__tostring");
  }
  lua_setmetatable(L, -2);
}

Error take_error(lua_State* L) {
  Error error{Code::ScriptError, ""};
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "carrier");
    if (const auto* carrier = test<Carrier>(L, -1)) error = carrier->error;
    lua_pop(L, 1);
  }
  if (error.message.empty()) {
    // "file.lua:12: text": the position becomes `where`.
    if (luaL_callmeta(L, -1, "__tostring")) lua_replace(L, -2);
    std::string text = lua_isstring(L, -1)
                           ? lua_tostring(L, -1)
                           : "the script raised " + type_name(L, -1) + " instead of a message";
    const size_t colon = text.find(':');
    const size_t second = colon == std::string::npos ? colon : text.find(": ", colon + 1);
    const std::string number = second == std::string::npos ? "" : text.substr(colon + 1, second - colon - 1);
    if (!number.empty() && number.find_first_not_of("0123456789") == std::string::npos) {
      error.where = {text.substr(0, colon), std::stoi(number.substr(0, 9))};
      text = text.substr(second + 2);
    }
    error.message = std::move(text);
  }
  lua_pop(L, 1);
  return error;
}

void set_session(lua_State* L, session::Session* session) {
  lua_pushlightuserdata(L, session);
  lua_setfield(L, LUA_REGISTRYINDEX, kSessionKey);
}

session::Session& session(lua_State* L) {
  lua_getfield(L, LUA_REGISTRYINDEX, kSessionKey);
  auto* s = static_cast<session::Session*>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  PERI_CHECK(s, "a Lua state of ours has a session");
  return *s;
}

static bool is_users(const lua_Debug& frame) {
  return frame.currentline > 0 && std::strncmp(frame.source, "=peri/", 6) != 0;
}

// The chunk's file as the user named it; short_src would cut long paths.
static std::string file_of(const lua_Debug& frame) {
  return frame.source[0] == '@' ? frame.source + 1 : frame.short_src;
}

Origin origin(lua_State* L) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(L, level, &frame); ++level) {
    lua_getinfo(L, "Sl", &frame);
    if (is_users(frame)) return {file_of(frame), frame.currentline};
  }
  return {};
}

std::string traceback(lua_State* L) {
  constexpr size_t kShown = 10;  // from each end
  std::vector<std::string> lines;
  lua_Debug frame;
  for (int level = 0; lua_getstack(L, level, &frame); ++level) {
    lua_getinfo(L, "Sln", &frame);
    if (!is_users(frame)) continue;
    const std::string where = frame.name           ? fmt::format("in function '{}'", frame.name)
                              : *frame.what == 'm' ? std::string("in main chunk")
                                                   : fmt::format("in function <line {}>", frame.linedefined);
    lines.push_back(fmt::format("\t{}:{}: {}\n", file_of(frame), frame.currentline, where));
  }
  std::string text;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i == kShown && lines.size() > 2 * kShown) {
      const size_t left_out = lines.size() - 2 * kShown;
      text += fmt::format("\t... ({} more)\n", left_out);
      i += left_out;
    }
    text += lines[i];
  }
  return text;
}

std::string type_name(lua_State* L, int index) {
  if (test<LuaTensor>(L, index)) return "a tensor";
  switch (lua_type(L, index)) {
    case LUA_TNONE:
      return "nothing";
    case LUA_TNIL:
      return "nil";
    case LUA_TNUMBER:
      return fmt::format("the number {}", lua_tonumber(L, index));
    case LUA_TSTRING:
      return fmt::format("the string '{}'", std::string(lua_tostring(L, index)).substr(0, 40));
    case LUA_TBOOLEAN:
      return lua_toboolean(L, index) ? "true" : "false";
    default:
      return std::string("a ") + luaL_typename(L, index);
  }
}

Error named(Error error, const std::string& name) {
  if (!error.message.starts_with(name + ": ") && !error.message.starts_with(name + " "))
    error.message = name + ": " + error.message;
  return error;
}

Error unknown(const std::string& noun, const std::string& word, const std::vector<std::string>& known,
              Origin origin) {
  Error error{Code::NotFound, fmt::format("unknown {} '{}'", noun, word), std::move(origin)};
  if (auto near = nearest(word, known)) error.hint = fmt::format("did you mean '{}'?", *near);
  return error;
}

Result<std::string> to_text(lua_State* L, int index, const char* what) {
  if (lua_type(L, index) != LUA_TSTRING)
    return fail(Code::InvalidArgument, fmt::format("{} must be a string, not {}", what, type_name(L, index)),
                origin(L));
  size_t length = 0;
  const char* text = lua_tolstring(L, index, &length);
  return std::string(text, length);
}

Result<double> to_number(lua_State* L, int index, const char* what) {
  if (lua_type(L, index) != LUA_TNUMBER)
    return fail(Code::InvalidArgument, fmt::format("{} must be a number, not {}", what, type_name(L, index)),
                origin(L));
  return lua_tonumber(L, index);
}

Result<int64_t> to_integer(lua_State* L, int index, const char* what) {
  const double number = PERI_TRY(to_number(L, index, what));
  if (number != std::floor(number))
    return fail(Code::InvalidArgument, fmt::format("{} must be a whole number, not {}", what, number),
                origin(L));
  if (std::abs(number) > 9007199254740992.0)
    return fail(Code::InvalidArgument,
                fmt::format("{} is {}, more than whole numbers in Lua go (2^53)", what, number), origin(L));
  return static_cast<int64_t>(number);
}

}  // namespace peri::lua
