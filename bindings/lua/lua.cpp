// See lua.hpp.
#include "bindings/lua/lua.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>

#include "bindings/lua/tensor.hpp"
#include "bindings/session/session.hpp"

namespace peri::lua {
namespace {

constexpr const char* kErrorMetatable = "peri.Error";
constexpr char kSessionKey = 0;                 // its address is the key
constexpr const char* kRaised = "peri.raised";  // {what the script raised, the message made of it}

// The Error itself travels in the table, so that nothing is lost between pcall and the top.
struct Carrier {
  static constexpr const char* kLuaName = "peri.ErrorCarrier";
  Error error;
};

int error_to_string(lua_State* L) {
  lua_getfield(L, 1, "text");
  return 1;
}

// "failed: " .. err, err .. "\n"
int error_concat(lua_State* L) {
  lua_settop(L, 2);
  for (int i : {1, 2}) {
    lua_getglobal(L, "tostring");
    lua_pushvalue(L, i);
    lua_call(L, 1, 1);
  }
  lua_concat(L, 2);
  return 1;
}

// err:find(...): a function of `string`, upvalue 1, on the error's text.
int error_method(lua_State* L) {
  if (lua_istable(L, 1)) {
    lua_getfield(L, 1, "text");
    lua_replace(L, 1);
  }
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
  return lua_gettop(L);
}

int error_index(lua_State* L) {
  lua_getglobal(L, "string");
  if (!lua_istable(L, -1)) return 0;
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  if (lua_isfunction(L, -1)) lua_pushcclosure(L, error_method, 1);
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
  if (make_metatable<Carrier>(L)) {
    lua_pushcfunction(L, collect<Carrier>);
    lua_setfield(L, -2, "__gc");
    lock_metatable(L);
  }
  lua_pop(L, 1);
  push<Carrier>(L, std::move(error));
  lua_setfield(L, -2, "carrier");
  if (luaL_newmetatable(L, kErrorMetatable)) {
    for (const Method& m : {Method{"__tostring", error_to_string}, Method{"__concat", error_concat},
                            Method{"__index", error_index}}) {
      lua_pushcfunction(L, m.function);
      lua_setfield(L, -2, m.name);
    }
    lock_metatable(L);
  }
  lua_setmetatable(L, -2);
}

void push_raised(lua_State* L, Error error) {
  lua_getfield(L, LUA_REGISTRYINDEX, kRaised);
  lua_pushnil(L);
  lua_setfield(L, LUA_REGISTRYINDEX, kRaised);
  if (lua_istable(L, -1) && error.code == Code::ScriptError) {
    lua_rawgeti(L, -1, 2);
    const char* message = lua_tostring(L, -1);
    const bool same = message && error.message == message && error.context.empty();
    lua_pop(L, 1);
    if (same) return lua_rawgeti(L, -1, 1);
  }
  push_error(L, std::move(error));
}

// Remembers the value at the top of the stack, of which `message` was made.
static void remember_raised(lua_State* L, const std::string& message) {
  lua_createtable(L, 2, 0);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, 1);
  lua_pushlstring(L, message.data(), message.size());
  lua_rawseti(L, -2, 2);
  lua_setfield(L, LUA_REGISTRYINDEX, kRaised);
}

Result<int> without_exceptions(Function f, lua_State* L) {
  try {
    return f(L);
  } catch (const std::bad_alloc&) {
    return fail(Code::OutOfMemory, "this takes more memory than there is", origin(L));
  } catch (const std::length_error&) {
    return fail(Code::OutOfMemory, "this takes more memory than there can be", origin(L));
  } catch (const std::exception& error) {
    return fail(Code::Unsupported, std::string("the standard library refused: ") + error.what(), origin(L));
  }
}

void lock_metatable(lua_State* L) {
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
}

Error take_error(lua_State* L) {
  Error error{Code::ScriptError, ""};
  if (lua_istable(L, -1)) {
    lua_pushliteral(L, "carrier");
    lua_rawget(L, -2);
    if (const auto* carrier = test<Carrier>(L, -1)) error = carrier->error;
    lua_pop(L, 1);
  }
  if (error.message.empty()) {
    // "file.lua:12: text": the position becomes `where`.
    lua_pushvalue(L, -1);
    if (luaL_getmetafield(L, -1, "__tostring")) {  // which may raise an error of its own
      lua_pushvalue(L, -2);
      if (lua_pcall(L, 1, 1, 0) == 0)
        lua_replace(L, -2);
      else
        lua_pop(L, 1);
    }
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
    lua_pop(L, 1);
    remember_raised(L, error.message);
  }
  lua_pop(L, 1);
  return error;
}

void set_session(lua_State* L, session::Session* session) {
  lua_pushlightuserdata(L, const_cast<char*>(&kSessionKey));
  lua_pushlightuserdata(L, session);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

session::Session& session(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kSessionKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  auto* s = static_cast<session::Session*>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  // Only debug.getregistry() reaches it.
  if (!s) luaL_error(L, "the script has cleared Lua's registry, where peri keeps what it needs");
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
    lua_getinfo(L, "l", &frame);
    if (frame.currentline <= 0) continue;  // of C
    lua_getinfo(L, "S", &frame);
    if (is_users(frame)) return {file_of(frame), frame.currentline};
  }
  return {};
}

// How many frames there are. lua_getstack walks to its frame, so that asking for each would take a time that
// grows with the square of their number.
static int count_frames(lua_State* L) {
  lua_Debug frame;
  int some = 0, more = 1;
  while (lua_getstack(L, more, &frame)) some = std::exchange(more, more * 2);
  while (some + 1 < more) {
    const int middle = some + (more - some) / 2;
    (lua_getstack(L, middle, &frame) ? some : more) = middle;
  }
  return more;
}

// The line of a frame of the user's own; empty for others.
static std::string traceback_line(lua_State* L, int level) {
  lua_Debug frame;
  if (!lua_getstack(L, level, &frame)) return "";
  lua_getinfo(L, "Sln", &frame);
  if (!is_users(frame)) return "";
  const std::string where = frame.name           ? fmt::format("in function '{}'", frame.name)
                            : *frame.what == 'm' ? std::string("in main chunk")
                                                 : fmt::format("in function <line {}>", frame.linedefined);
  return fmt::format("\t{}:{}: {}\n", file_of(frame), frame.currentline, where);
}

std::string traceback(lua_State* L) {
  constexpr int kShown = 10;  // from each end
  const int frames = count_frames(L);
  std::string first, last;
  int level = 0, end = frames;
  for (int shown = 0; level < frames && shown < kShown; ++level) {
    const std::string line = traceback_line(L, level);
    first += line;
    shown += !line.empty();
  }
  for (int shown = 0; end > level && shown < kShown; --end) {
    const std::string line = traceback_line(L, end - 1);
    last.insert(0, line);
    shown += !line.empty();
  }
  if (end > level) first += fmt::format("\t... ({} more)\n", end - level);
  return first + last;
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
              Origin origin, const std::string& page) {
  Error error{Code::NotFound, fmt::format("unknown {} '{}'", noun, word), std::move(origin)};
  constexpr size_t kShown = 8;
  if (auto near = nearest(word, known))
    error.hint = fmt::format("did you mean '{}'?", *near);
  else if (known.empty() || known.size() > kShown)
    error.hint = fmt::format("`peri help {}` lists what there is", page);
  else
    error.hint = fmt::format("there is {}", fmt::join(known, ", "));
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
