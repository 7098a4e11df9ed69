-- run: peri run -n 2 $FILE
-- Outputs belong to the caller: held across calls they keep their contents, and may be fed back as inputs. Several shapes
-- and several functions share a group.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local f = peri.compile(function(x) return x:all_reduce() + 1, x * 2 end)
local held = {}
for i = 1, 6 do held[i] = { f(peri.ones { 3 } * i) } end
collectgarbage()
for i = 1, 6 do
  check.is(held[i][1], 2 * i + 1, 2 * i + 1, 2 * i + 1)
  check.is(held[i][2], 2 * i, 2 * i, 2 * i)
end
local view = f(peri.ones { 3 }):slice(1, 2, 3)  -- only a window is held
f(peri.zeros { 3 })
check.is(view, 3, 3)

local x = peri.ones { 2 }
for _ = 1, 10 do x = f(x) end  -- x -> 2x + 1
check.is(x, 2047, 2047)
local same = peri.compile(function(t) return t, t * 1 end)
local a, b = same(x)
a:add_(1)
check.is(b, 2047, 2047)

for _, shape in ipairs { { 1 }, { 0 }, { 7, 3 }, { 1000 }, { 2, 3, 4 }, { 100000 }, { 7, 3 } } do
  local t = peri.randn(shape, { seed = peri.rank })
  check.same(t:all_reduce() + 1, (f(t)), "shape " .. table.concat(shape, "x"))
end
assert(tostring(f):find "8 plans", tostring(f))
local g = peri.compile(function(t) return t:all_reduce "max":all_gather() end)
for i = 1, 5 do
  check.is((f(peri.ones { 1 } * i)), 2 * i + 1)
  check.is(g(peri.ones { 1 } * (i + peri.rank)), i + 1, i + 1)
end
local outer = peri.compile(function(t) local once = f(t) return (f(once)) end)  -- compiled functions inside another
check.is(outer(peri.ones { 2 }), 7, 7)
local nested = peri.compile(function(t) return { sum = t.a + t.b, list = { t.a, 5, "text" } } end)
local r = nested { a = peri.ones { 1 }, b = peri.ones { 1 } * 4 }
check.is(r.sum, 5) check.is(r.list[1], 1)
assert(r.list[2] == 5 and r.list[3] == "text")
