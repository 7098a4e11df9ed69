// Loads a user's source so that every operation knows its line. `return f(x)` is a tail call in Lua: f's
// frame takes the place of its caller's, and with it goes the line that an error or a plan should name. So
// the source is loaded with `return f(x)` written as `return _results(f(x))`, where _results hands its
// arguments on; lines stay as they are.
#pragma once

#include <string>
#include <string_view>

#include "bindings/lua/lua.hpp"

namespace peri::lua {

// The global function that `without_tail_calls` writes into sources.
inline constexpr const char* kResults = "_results";

// The same chunk with the results of every return statement passed through _results. Anything that does not
// lex as Lua comes back unchanged, for Lua's own message.
std::string without_tail_calls(std::string_view source);

// Pushes the loaded chunk. Text only, never bytecode. Errors: IoError, ScriptError with Lua's own words and
// line.
Status load_file(lua_State* L, const std::string& path);

// Adds the global function _results.
void register_results(lua_State* L);

}  // namespace peri::lua
