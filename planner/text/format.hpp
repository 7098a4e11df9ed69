// How numbers and attributes of a plan are written, the same in `print` and in `code`: as Lua source.
// Dimensions count from 1.
#pragma once

#include <span>
#include <string>

#include "planner/plan.hpp"

namespace peri::planner {

std::string lua_number(double value);                 // read back exactly: 0.1, -0.0, math.huge, 0/0
std::string lua_dims(std::span<const int64_t> dims);  // {2, 3}
std::string lua_value(Kind kind, const AttributeValue& value);

// "dim = 1, keepdim = false": a call's attributes in declared order, without `group` and `algorithm`.
std::string lua_attributes(Op op, const Attributes& attributes);

}  // namespace peri::planner
