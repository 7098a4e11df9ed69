// The edge between Lua and C++: how errors cross it, where a call came from, and typed userdata. LuaJIT on
// x86-64 unwinds C++ frames when a Lua error passes through them, so destructors run; our own errors are
// raised only by `wrap`, whose frame holds nothing. No C++ exception passes it.
#pragma once

#include <lua.hpp>

#include <new>
#include <string>
#include <utility>
#include <vector>

#include "core/error.hpp"

namespace peri::session {
class Session;
}

namespace peri::lua {

// Pushes results, returns their count.
using Function = Result<int> (*)(lua_State*);

// An error that does not know its line gets the one of the call in progress.
void push_error(lua_State* L, Error error);
// The error at the top of the stack as an Error: ours unchanged, a string as ScriptError with its position
// taken off. What the script raised itself is remembered: push_raised gives it back.
Error take_error(lua_State* L);
// As push_error; but an Error that take_error made of a value that the script had raised, and that nobody has
// changed since, is that value again.
void push_raised(lua_State* L, Error error);
// f(L), with the standard library's exceptions (an allocation of absurd size) as errors.
Result<int> without_exceptions(Function f, lua_State* L);

template <Function F>
int wrap(lua_State* L) {
  {
    Result<int> result = without_exceptions(F, L);
    if (result) return *result;
    push_raised(L, std::move(result).error());
  }
  return lua_error(L);
}

session::Session& session(lua_State* L);
void set_session(lua_State* L, session::Session* session);

// The innermost line of the user's own script: frames of the standard library (chunks named "=peri/...") are
// passed over.
Origin origin(lua_State* L);
// The user's frames, innermost first, "\tfile:line: in function 'name'" each.
std::string traceback(lua_State* L);

// The metatable of T's userdata, or nil. It is registered under the address of T::kLuaName, not under the
// name: every call looks some up, and a name would be hashed each time.
template <class T>
void push_metatable(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<const char**>(&T::kLuaName));
  lua_rawget(L, LUA_REGISTRYINDEX);
}
// Pushes it; true if it is made now, and therefore empty.
template <class T>
bool make_metatable(lua_State* L) {
  push_metatable<T>(L);
  if (!lua_isnil(L, -1)) return false;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushlightuserdata(L, const_cast<const char**>(&T::kLuaName));
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return true;
}

// What a userdata of ours holds. The tag says so, not the metatable: debug.setmetatable may give that to any
// userdata.
template <class T>
struct Box {
  const void* tag;  // &T::kLuaName; nullptr once it is finalised
  T object;
};

// Full userdata with T's metatable.
template <class T, class... Args>
T& push(lua_State* L, Args&&... args) {
  void* memory = lua_newuserdata(L, sizeof(Box<T>));
  auto* box = new (memory) Box<T>{&T::kLuaName, T{std::forward<Args>(args)...}};
  push_metatable<T>(L);
  lua_setmetatable(L, -2);
  return box->object;
}
template <class T>
T* test(lua_State* L, int index) {
  if (lua_type(L, index) != LUA_TUSERDATA || lua_objlen(L, index) != sizeof(Box<T>)) return nullptr;
  auto* box = static_cast<Box<T>*>(lua_touserdata(L, index));
  return box->tag == &T::kLuaName ? &box->object : nullptr;
}
template <class T>
int collect(lua_State* L) {
  if (T* object = test<T>(L, 1)) {
    static_cast<Box<T>*>(lua_touserdata(L, 1))->tag = nullptr;
    object->~T();
  }
  return 0;
}

// Locks the metatable at the top of the stack: getmetatable gives false and setmetatable refuses, so that no
// script calls a finalizer.
void lock_metatable(lua_State* L);

// Registers a metatable with these methods (and __gc, __index = methods). Leaves nothing on the stack.
struct Method {
  const char* name;
  lua_CFunction function;
};
template <class T>
void register_type(lua_State* L, const std::vector<Method>& methods) {
  make_metatable<T>(L);
  for (const Method& m : methods) {
    lua_pushcfunction(L, m.function);
    lua_setfield(L, -2, m.name);
  }
  lua_pushcfunction(L, collect<T>);
  lua_setfield(L, -2, "__gc");
  lock_metatable(L);
  lua_getfield(L, -1, "__index");
  if (lua_isnil(L, -1)) {
    lua_pushvalue(L, -2);
    lua_setfield(L, -3, "__index");
  }
  lua_pop(L, 2);
}

std::string type_name(lua_State* L, int index);  // "a table", "a tensor", "nil": as error messages say it
// The error with "name: " in front, once.
Error named(Error error, const std::string& name);
// "unknown NOUN 'word'", with a hint at the nearest known word, or at the manual's page that has them all
Error unknown(const std::string& noun, const std::string& word, const std::vector<std::string>& known,
              Origin origin, const std::string& page = "index");
Result<std::string> to_text(lua_State* L, int index, const char* what);
Result<double> to_number(lua_State* L, int index, const char* what);
Result<int64_t> to_integer(lua_State* L, int index, const char* what);

}  // namespace peri::lua
