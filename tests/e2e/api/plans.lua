-- run: for n in 1 2 3 4; do peri run -n $n $FILE || exit 1; done
-- within: 40
-- within(cuda): 150
-- A function keeps so many plans; the one that was called longest ago makes room, on all ranks the same one, although they
-- may have called their plans in different orders. A dropped one is compiled again.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")

local traces = io.tmpfile()  -- a byte each: what a file holds is no value that a function captures
local function traced() return traces:seek "end" end
local function compiles(f, n, wanted)
  local before = traced()
  local got = f(peri.ones { n } * (peri.rank + 1))
  local times = traced() - before
  assert(times == (wanted and 1 or 0), ("length %d: traced %d times"):format(n, times))
  return got
end

local double = peri.compile(function(x) traces:write "." return x * 2 end, { plans = 3 })
for n = 1, 3 do compiles(double, n, true) end
-- No collective: each rank in its own order. Rank 0 called 2 longest ago, so that is dropped everywhere.
local orders = { { 2, 3, 1 }, { 1, 2, 3 }, { 3, 1, 2 }, { 1, 3, 2 } }
for _, n in ipairs(orders[peri.rank + 1]) do compiles(double, n, false) end
compiles(double, 4, true)
local shown = "%(3 plans, .* B for results, .* B shared by all functions%)$"
assert(double:stats().plans == 3 and tostring(double):find(shown), tostring(double))
for _, n in ipairs { 4, 3, 1, 3 } do compiles(double, n, false) end
local held = compiles(double, 4, false)
check.is(compiles(double, 2, true), 2 * peri.rank + 2, 2 * peri.rank + 2)
for n = 10, 30 do compiles(double, n, true) end
local mine = 2 * peri.rank + 2
check.is(held, mine, mine, mine, mine)  -- its plan is gone, and the block taken by nobody else
assert(double:stats().plans == 3)

-- With collectives, whose comm buffers the plans share with those of another function.
local world, sum = peri.world_size, peri.world_size * (peri.world_size + 1) / 2
local one_shot = { policy = { all_reduce = "one_shot" }, plans = 2 }
local reduce = peri.compile(function(x) traces:write "." return (x * 2):all_reduce() end, one_shot)
local other = peri.compile(function(x) traces:write "." return (x + 1):all_reduce() end, one_shot)
for round = 1, 3 do
  for n = 1, 5 do
    check.is(compiles(reduce, n * 100, true):slice(1, n * 100, n * 100), 2 * sum)
    check.is(compiles(other, n * 10, true):slice(1, 1, 1), sum + world)
    if n > 1 then
      check.is(compiles(reduce, n * 100 - 100, false):slice(1, 1, 1), 2 * sum)
      check.is(compiles(reduce, n * 100, false):slice(1, n * 50, n * 50), 2 * sum)
    end
    double(peri.ones { peri.rank == 0 and 28 + n % 3 or 30 - n % 3 })  -- known; in orders that differ
  end
  assert(reduce:stats().plans == 2 and other:stats().plans == 2, round)
end
if world > 1 then assert(reduce:stats().comm_bytes >= 2000 and reduce:stats().comm_bytes <= 2^20) end

-- Of values that a function captures the last eight are kept, on all ranks the same.
local factor = 1
local captured = peri.compile(function(x) traces:write "." return x * factor end)
for i = 1, 8 do
  factor = i
  compiles(captured, 1, true)
  compiles(captured, 1, false)
end
for i = 1, 8 do
  factor = peri.rank % 2 == 0 and i or 9 - i
  compiles(captured, 1, false)
end
factor = 9
compiles(captured, 1, true)  -- 1 is dropped: rank 0 used it longest ago
for i = 2, 9 do
  factor = i
  compiles(captured, 1, false)
end

-- Ranks that compile for themselves drop for themselves.
local alone = peri.compile(function(x) traces:write "." return x + 1 end,
  { group = peri.group { peri.rank }, plans = 2 })
for n = 1, 4 + peri.rank do compiles(alone, n, true) end
assert(alone:stats().plans == 2)

-- A finalizer that calls the function drops the plan of the call that it interrupts.
local interrupted, finalized = peri.compile(function(x)
  local all = {}
  for i = 1, 40 do all[i] = { value = x + i } end
  return all
end, { group = peri.group { peri.rank }, plans = 1 }), 0
for i = 1, 200 do
  getmetatable(newproxy(true)).__gc = function()
    if pcall(interrupted, peri.ones { 4 + i % 2 }) then finalized = finalized + 1 end
  end
  local all = interrupted(peri.ones { 3 })
  check.is(all[1].value, 2, 2, 2)
  check.is(all[40].value, 41, 41, 41)
end
assert(finalized > 50, finalized)

-- Of these no plan is dropped that communicates with others, who do not know of it.
local pipeline = peri.compile(function(x) traces:write "." return (x * 2):all_reduce() end,
  { group = peri.group { peri.rank }, plans = 1, policy = { all_reduce = "one_shot" } })
for round = 1, world > 1 and 2 or 0 do
  for n = 1, 3 do check.is(compiles(pipeline, n, round == 1):slice(1, n, n), 2 * sum) end
  assert(pipeline:stats().plans == 3)
end

-- What does not fit is an error on all ranks, and the plans that are there go on.
local fits = compiles(reduce, 500, false)
local vast = peri.ones { 1 }:expand { 2 ^ 38 }
local ok, problem = pcall(reduce, vast)
assert(not ok and problem.code == "OutOfMemory", problem)
for _ = 1, 3 do check.same(compiles(reduce, 500, false), fits, "after an error") end

for _, wrong in ipairs { 0, 1.5, -1, "3", 1e300 } do
  check.raises("*compile: plans must be a whole number from 1, not *", peri.compile, print, { plans = wrong })
end
