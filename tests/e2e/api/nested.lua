-- run: peri run -n 2 $FILE
-- A compiled function called by another is part of it, with the same meaning: what it changes in its arguments
-- is seen outside, its results may be views of them, and a layer has its cache.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local function both(what, f, make)
  local eager = make()
  local wanted = { f(unpack(eager)) }
  local compiled = peri.compile(f)
  for _ = 1, 2 do
    local given = make()
    local got = { compiled(unpack(given)) }
    for i = 1, #wanted do check.same(wanted[i], got[i], what) end
    for i = 1, #eager do check.same(eager[i], given[i], what .. ": argument " .. i) end
  end
end
local function counter() return { peri.arange(6):to "f32":reshape(2, 3) } end

local inner = peri.compile(function(c) c:add_(1) return c[1] end)
both("an argument changed", function(c)
  local first = inner(c)
  local seen = c * 1
  first:mul_(10)
  inner(c[2]:unsqueeze(1))
  return seen, c, first
end, counter)
local twice = peri.compile(function(c) inner(c) inner(c) return { whole = c, row = c[2] } end)
both("three deep", function(c)
  local r = twice(c)
  r.row:add_(100)
  return r.whole + c
end, counter)

-- A layer with its cache inside a model.
local function layer(dim)
  local cache, w = peri.zeros { 4, dim }, peri.randn({ dim, dim }, { seed = dim })
  local forward = peri.compile(function(x, at)
    cache:index_copy_(1, at, x:mm(w))
    return peri.all_reduce(x + cache:sum(1, true))
  end)
  return { forward = forward, cache = cache }
end
local layers = { layer(3), layer(3) }
local function model(x, at)
  for _, l in ipairs(layers) do x = l.forward(x, at) end
  return x
end
local compiled, x = peri.compile(model), peri.ones { 1, 3 } * (peri.rank + 1)
local results = {}
for pass, f in ipairs { model, compiled } do
  results[pass] = {}
  for _, l in ipairs(layers) do l.cache:copy_(peri.zeros { 4, 3 }) end
  for at = 0, 3 do results[pass][at + 1] = f(x, peri.tensor({ at }, { dtype = "i32" })) end
  for i, l in ipairs(layers) do results[pass][4 + i] = l.cache * 1 end
end
for i = 1, 6 do check.same(results[1][i], results[2][i], "a model, " .. i) end
