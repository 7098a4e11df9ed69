// Reads the arguments of an op as its row in the op table declares them: operands first, then attributes by
// position or by name in a last table. Dims, positions and shapes are 1-based in Lua and 0-based in C++.
#pragma once

#include <vector>

#include "bindings/lua/lua.hpp"
#include "bindings/session/value.hpp"
#include "core/ops/attributes.hpp"
#include "core/ops/op.hpp"

namespace peri::lua {

struct OpArguments {
  std::vector<session::Argument> operands;
  Attributes attributes;
};

// Arguments from stack index `first` on.
Result<OpArguments> read_arguments(lua_State* L, Op op, int first);

// One attribute's value; `rank` of the first operand resolves negative dims later (core's `complete`).
Result<AttributeValue> read_attribute(lua_State* L, int index, const AttributeInfo& attribute);

// A 1-based position or dimension (`what`) at a stack index as a 0-based one of `size`; negative ones count
// from the end. InvalidArgument if there is no such one in `where`.
Result<int64_t> read_position(lua_State* L, int index, int64_t size, const char* what,
                              const std::string& where);

// NotFound, with the nearest or all names, if the collective has no such algorithm; "" leaves the choice
// open.
Status check_algorithm(Op op, const std::string& name, const Origin& origin);

// A shape from a table of whole numbers, or from a list of arguments.
Result<Shape> read_shape(lua_State* L, int index, const char* what);
Result<Strides> read_strides(lua_State* L, int index, const char* what);

}  // namespace peri::lua
