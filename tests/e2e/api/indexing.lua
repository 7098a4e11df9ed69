-- run: peri run -n 2 $FILE
-- An index for each element: gather, scatter, scatter_add, eager and compiled, in place, and what they
-- refuse. The numbers are PyTorch's.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local function ids(list, dtype) return peri.tensor(list, { dtype = dtype or "i64" }) end
local x = peri.tensor { { 1, 2 }, { 3, 4 }, { 5, 6 } }
check.is(x:gather(1, ids { { 2, 0 }, { 0, 1 } }), 5, 2, 1, 4)
check.is(peri.gather(x, ids({ { 1 }, { 0 }, { 1 } }, "i32"), { dim = -1 }), 2, 3, 6)
local index = ids { { 0, 1 }, { 0, 2 }, { 2, 1 } }
check.is(peri.zeros { 3, 2 }:scatter_add(1, index, x), 4, 0, 0, 8, 5, 4)
check.is(x:scatter(1, ids { { 2, 2 } }, peri.tensor { { 8, 9 } }), 1, 2, 3, 4, 8, 9)
check.is(x, 1, 2, 3, 4, 5, 6)
local y = x * 1
assert(y:scatter_add_(1, index, x) == y)
check.is(y, 5, 2, 3, 12, 10, 10)
y[1]:scatter_(1, ids { 1 }, peri.tensor { 7 })  -- through a view
check.is(y, 5, 7, 3, 12, 10, 10)

-- Compiled: the same bits, into an argument, and out of range nothing is written and NaN is read.
check.both("gather", function(a, i) return a:gather(1, i) * 2, a:gather(-1, i * 0) end, { x, index })
check.both("scatters", function(a, i)
  local z = peri.zeros { 3, 2 }
  z:scatter_add_(1, i, a * 0.1)
  z:slice(1, 2, 3):scatter_(1, i * 0 + 1, a)
  return z, peri.all_reduce(z:scatter_add(1, i, a), "sum")
end, { x, index })
local f = peri.compile(function(sum, i, a) return (sum:scatter_add_(1, i, a)) end)
local sum = peri.zeros { 3, 2 }
for _ = 1, 3 do f(sum, index, x) end
check.is(sum, 12, 0, 0, 24, 15, 12)
f(sum, index + 2, x)
check.is(sum, 12, 0, 0, 24, 19, 12)
local g = peri.compile(function(a, i) return a:gather(1, i) end)
assert(g(x, ids { { 3, 0 } }):isnan():totable()[1][1] == true)

local values, indices = x:max_with_indices(1)
check.is(values, 5, 6)
check.is(indices, 2, 2)
values, indices = peri.min_with_indices(peri.tensor { { 3, 1, 1 }, { 0, 2, 0 } }, -1, true)
check.is(values, 1, 0)
check.is(indices, 1, 0)
assert(values:dim() == 2 and indices:dtype() == "i64")
check.both("max_with_indices", function(a) return a:max_with_indices(2) end, { x })

local function raises(wanted, h) check.raises("*indexing.lua:*: " .. wanted, h) end
raises("gather: b holds 3 at {1, 2}, but dim 1 of a has the size 3*",
       function() local _ = x:gather(1, ids { { 0, 3 } }) end)
raises("scatter_add: b holds -1 at {1, 1}, but dim 2 of a has the size 2*",
       function() x:scatter_add_(2, ids { { -1, 0 } }, x) end)
raises("gather: dim 2 of b is 3, and that of a only 2*",
       function() local _ = x:gather(1, ids { { 0, 1, 2 } }) end)
raises("scatter_add: dtypes differ: f32 (a) and i64 (c)*",
       function() local _ = x:scatter_add(1, index, index) end)
raises("gather: dim 3 is out of range: there are 2 dimensions*",
       function() local _ = x:gather(3, index) end)
