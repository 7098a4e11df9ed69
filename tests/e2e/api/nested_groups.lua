-- run: peri run -n 4 $FILE
-- Collectives of a group and of a larger one on the same values: random programs, compiled as eager.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local half = peri.rank < 2 and { 0, 1 } or { 2, 3 }
local groups = { half, { 0, 1, 2, 3 }, { 3, 2, 1, 0 } }
local algorithms = { "ll", "one_shot", "one_shot", "two_shot", "two_shot" }

local function random_program(seed)
  return function(x)
    math.randomseed(seed)  -- the same choices on all ranks, at each run
    local values = { x, x * 2 }
    for _ = 1, 12 do
      local v, other = values[math.random(#values)], values[math.random(#values)]
      local choice = math.random(10)
      if choice <= 6 then
        local part = math.random(4) == 1
        if part then v = v:slice(1, 1, 4) end
        v = v:all_reduce { reduce = "max", group = groups[math.random(#groups)],
                           algorithm = algorithms[math.random(#algorithms)] }
        values[#values + 1] = part and peri.cat({ v, v }, 1) or v
      elseif choice <= 8 then
        values[#values + 1] = peri.maximum(v, other)
      else
        values[#values + 1] = -v
      end
    end
    return values[#values], values[#values - 1] + values[3]
  end
end
local x = peri.randn({ 8, 6 }, { seed = 3 + peri.rank })
for seed = 1, 60 do check.both("program " .. seed, random_program(seed), { x }) end

-- Symmetric memory of the world serves a group as it is.
local shared = peri.symm.empty { 5 }
shared:copy_(peri.arange(5):to "f32" + 10 * peri.rank)
local first = 10 * (half[1] + half[2])
local sum = peri.symm.one_shot_all_reduce(shared, { group = half })
check.is(sum, first, first + 2, first + 4, first + 6, first + 8)
local f = peri.compile(function(a)
  local v = a * 1
  return peri.symm.one_shot_all_reduce(v, { group = half }), peri.symm.one_shot_all_reduce(v)
end)
local one, two = f(shared)
check.is(one, first, first + 2, first + 4, first + 6, first + 8)
check.is(two, 60, 64, 68, 72, 76)
assert(f:stats().p2p_allocs == 1 and f:stats().identity_copies == 0, f:plan())
