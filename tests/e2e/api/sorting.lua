-- run: peri run -n 2 $FILE
-- Operations with several results: eager, compiled, and as a plan's code.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x = peri.tensor { { 3, 1, 2, 3 }, { -1, 0, 5, -2 } } + 10 * peri.rank
local r = 10 * peri.rank

local values, indices = x:sort()
check.is(values - r, 1, 2, 3, 3, -2, -1, 0, 5)
check.is(indices, 1, 2, 0, 3, 3, 0, 1, 2)
assert(indices:dtype() == "i64")
values, indices = x:sort { dim = 1, descending = true }
check.is(values - r, 3, 1, 5, 3, -1, 0, 2, -2)
check.is(indices, 0, 0, 1, 0, 1, 1, 0, 1)
values, indices = peri.topk(x, 2)
check.is(values - r, 3, 3, 5, 0)
check.is(indices, 0, 3, 2, 1)
values = x:topk(1, -1, false)
check.is(values - r, 1, -2)
assert(select("#", x:topk(0)) == 2 and x:topk(0):numel() == 0)

-- Compiled: both results, the second alone, results that others use, over a collective.
local f = peri.compile(function(y)
  local v, i = y:topk(2)
  local _, order = y:sort(2)
  return v * 2, i, order, peri.all_reduce(v, "sum")
end)
for _ = 1, 3 do
  local v, i, order, sum = f(x)
  check.is(v - 2 * r, 6, 6, 10, 0)
  check.is(i, 0, 3, 2, 1)
  check.is(order, 1, 2, 0, 3, 3, 0, 1, 2)
  check.is(sum - 10, 6, 6, 10, 0)
end
local results = load(f:code())()({ x }, {})
local v, i, order = unpack(results)
check.is(v - 2 * r, 6, 6, 10, 0)
check.is(i, 0, 3, 2, 1)
check.is(order, 1, 2, 0, 3, 3, 0, 1, 2)

check.raises("*topk: k is 5, and dim 2 of a is 4*", x.topk, x, 5)
check.raises("*sort: dim -1 is out of range: there are 0 dimensions*", peri.sort, peri.full({}, 1))
assert(not pcall(function() return peri.result(x) end))
