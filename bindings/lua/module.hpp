// The table that `require "peri"` gives: rank and world, groups, tensors from tables, files, the op table's
// functions, compile.
#pragma once

#include "bindings/lua/lua.hpp"

namespace peri::lua {

// Pushes the table, made once per state.
void push_module(lua_State* L);

// safetensors: adds `load` and `save` to the table at the top of the stack.
void register_files(lua_State* L);
// One-sided writes and signals: adds `put`, `put_signal` and `wait_signal` to the table at the top of the
// stack.
void register_signals(lua_State* L);

// The primitives of peri.runtime, over which a printed plan runs: pushes the table.
void push_runtime(lua_State* L);

}  // namespace peri::lua
