-- run: peri run -n 2 $FILE
-- Ids and positions that are not there are errors of eager operations; a compiled function goes on,
-- unless it checks each call.
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
local q = peri.ones { 1, 1, 2 }
raises("attention: d holds 5 at 1, but dim 1 of b has the size 5*",
       function() q:attention(peri.ones { 5, 1, 2 }, peri.ones { 5, 1, 2 }, ids { 5 }) end)
check.is(x:index_select(1, ids { 9, 0 }), 9, 0)
check.is(x:index_select(1, ids {}):sum(), 0)
local f = peri.compile(function(i) return x:index_select(1, i) end)
assert(f(ids { 10 }):item() ~= f(ids { 10 }):item())  -- NaN
-- With `check`: also where ids are computed by the function, in a view, and where a cache is changed in place.
local function checked(wanted, body, ...)
  local g = peri.compile(body, { check = true })
  local good, bad = ...
  g(good)
  local before = g(good):totable()
  for _ = 1, 2 do raises(wanted, function() g(bad) end) end
  assert(tostring(peri.tensor(g(good):totable())) == tostring(peri.tensor(before)))
  return g
end
local g = checked("index_select: b holds 10 at 2, but dim 1 of a has the size 10*",
                  function(i) return peri.all_reduce(x:index_select(1, i + 1), "sum") end,
                  ids { 0, 8 }, ids { 3, 9 })
assert(g:explain():find "not captured: its positions are checked at each call")
checked("embedding: a holds -5 at {2, 1}, but dim 1 of b has the size 4*",
        function(i) return peri.embedding(i:t():slice(1, 2, 3), table2) end,
        ids({ { -7, 0, 1 }, { 9, 2, 3 } }, "i64"), ids({ { 0, 1, -5 }, { 0, 0, 0 } }, "i64"))
local cache = peri.zeros { 4, 3 }
checked("index_copy: b holds 4 at 1, but dim 1 of a has the size 4*", function(i)
  cache:index_copy_(1, i, peri.ones { 1, 3 })
  return cache * 1
end, ids { 3 }, ids { 4 })
local calls = 0
local function choice() calls = calls + 1 return "ll" end
local alone = peri.compile(function(t) return (peri.all_reduce(t, { group = peri.group { peri.rank } })) end,
                           { policy = { all_reduce = choice }, group = peri.group { peri.rank } })
alone(x)
assert(calls == 1)
