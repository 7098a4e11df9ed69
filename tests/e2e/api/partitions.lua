-- run: peri run -n 2 $FILE
-- A round trip through host memory inside a compiled function (S5 of planner/SYSTEMS.md): two captured partitions around an eager one,
-- which allocates nothing: its buffers are hoisted, and lie at one address on every replay.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x = peri.randn({ 4, 4 }, { seed = 3 + peri.rank })
local f = check.both("round trip", function(a)
  local there = (a * 2):all_reduce():to "host"
  return there:to "device":mm(a) + 1, there
end, { x })
local stats = f:stats()
assert(stats.partitions == 3 and stats.captured_partitions == 2 and stats.hoisted_allocs >= 1,
       stats.captured_partitions)
local function replay()  -- outputs that nobody holds lie where they lay
  collectgarbage()
  f(x)
  return f:addresses()
end
local before = replay()
for _ = 1, 5 do replay() end
local names = 0
for name, address in pairs(f:addresses()) do
  assert(before[name] == address, name .. " moved")
  names = names + 1
end
assert(names >= 4, names)
local nothing_before = check.both("nothing to hoist into",
                                  function(a) return a:to "host":to "device" + 1 end, { x })
assert(nothing_before:stats().hoisted_allocs == 0 and nothing_before:stats().captured_partitions == 1)
local eager = check.both("no capture", function(a) return (a * 2):all_reduce() end, { x },
                         { policy = { capture = false } })
assert(eager:stats().captured_partitions == 0)
local split = check.both("split", function(a) return ((a + 1):exp():sum(1) * 2):tanh() end, { x },
                         { policy = { split = function(op) return op.op == "sum" end } })
assert(split:stats().partitions == 3 and split:stats().captured_partitions == 2, split:explain())
local host = peri.ones { 2 }:to "host"
check.is(peri.compile(function(h) return h:to "device" + 1 end)(host), 2, 2)
