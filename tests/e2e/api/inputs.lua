-- run: peri run -n 2 $FILE
-- Where a collective's operand is an argument (S3, S6 of planner/SYSTEMS.md): one persistent buffer and one copy per argument that is not
-- symmetric, none for one that is; another symmetric address on the next call is followed, never read stale.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local one_shot = { policy = { all_reduce = "one_shot" } }
local x = peri.ones { 4 } * (peri.rank + 1)
local f = check.both("plain", function(a) return a:all_reduce(), a:exp() end, { x }, one_shot)
assert(f:stats().p2p_allocs == 1 and f:stats().input_copies == 1 and f:stats().identity_copies == 0, f:plan())
x:mul_(2)
check.is((f(x)), 6, 6, 6, 6)
check.is((f(peri.ones { 4 })), 2, 2, 2, 2)

local a, b = peri.symm.empty { 4 }, peri.symm.empty { 4 }
a:add_(1) b:add_(10)
local g = peri.compile(function(t) return t:all_reduce() end, one_shot)
for _ = 1, 3 do
  check.is(g(a), 2, 2, 2, 2)
  check.is(g(b), 20, 20, 20, 20)
  a:add_(0)
end
assert(g:stats().p2p_allocs == 0 and g:stats().input_copies == 0, g:plan())
b:add_(1)
check.is(g(b), 22, 22, 22, 22)
check.is(g(x), 6, 6, 6, 6)  -- not symmetric: another signature
assert(tostring(g):find "2 plans" and g:stats().p2p_allocs == 1)
check.is(g(a:slice(1, 1, 3)), 2, 2, 2)

local chain = check.both("a chain in place", function(t)
  local y = t * 1
  peri.symm.two_shot_all_reduce_(y)
  peri.symm.two_shot_all_reduce_(y)
  return y + 1
end, { x }, one_shot)
check.is(chain(x), 13, 13, 13, 13)
assert(chain:stats().p2p_allocs == 1 and chain:stats().identity_copies == 0, chain:plan())
local weights = peri.ones { 4 } * 3  -- captured, not an argument
local h = check.both("a captured tensor", function(t) return weights:all_reduce() + t end, { x }, one_shot)
weights:add_(1)
check.is(h(peri.zeros { 4 }), 8, 8, 8, 8)
