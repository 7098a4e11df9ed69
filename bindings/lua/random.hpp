// Seeds of random tensors that are made without one: drawn from a generator of each rank that peri.seed sets.
#pragma once

#include "bindings/lua/lua.hpp"
#include "core/ops/attributes.hpp"
#include "core/ops/op.hpp"

namespace peri::lua {

// Gives `attributes` a seed if the op takes one and has none. Error: in a compiled function, whose calls
// would all give the same numbers.
Status draw_seed(lua_State* L, Op op, Attributes& attributes);

// peri.seed(n): from here on the numbers are those that follow n.
Result<int> set_seed(lua_State* L);

}  // namespace peri::lua
