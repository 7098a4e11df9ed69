-- run: peri run -n 2 $FILE
-- Ids and positions that are not there are errors of eager operations; a compiled function goes on.
-- The policy's functions are called on one rank, too.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local function ids(list, dtype) return peri.tensor(list, { dtype = dtype or "i32" }) end
local x = peri.arange(10):to "f32"
local table2 = peri.ones { 4, 3 }
local function raises(wanted, f) check.raises("*positions.lua:*: " .. wanted, f) end
raises("index_select: b holds 10 at 2, but dim 1 of a has the size 10*",
       function() local _ = x:index_select(1, ids { 9, 10 }) end)
raises("index_select: b holds -1 at 1, but dim 2 of a has the size 3*",
       function() local _ = table2:index_select(2, ids { -1 }) end)
raises("embedding: a holds 4 at {2, 1}, but dim 1 of b has the size 4*",
       function() local _ = peri.embedding(ids({ { 0, 3 }, { 4, 0 } }, "i64"), table2) end)
raises("index_copy: b holds 7 at 1, but dim 1 of a has the size 4*",
       function() table2:index_copy_(1, ids { 7 }, peri.ones { 1, 3 }) end)
check.is(x:index_select(1, ids { 9, 0 }), 9, 0)
check.is(x:index_select(1, ids {}):sum(), 0)
local f = peri.compile(function(i) return x:index_select(1, i) end)
assert(f(ids { 10 }):item() ~= f(ids { 10 }):item())  -- NaN
local calls = 0
local function choice() calls = calls + 1 return "ll" end
local alone = peri.compile(function(t) return (peri.all_reduce(t, { group = peri.group { peri.rank } })) end,
                           { policy = { all_reduce = choice }, group = peri.group { peri.rank } })
alone(x)
assert(calls == 1)
