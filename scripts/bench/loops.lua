-- What a call takes in loops as people write them (bf16), beside the bare replay of the same program, which
-- writes its result into an argument and so has no outputs.
--   peri run -n N scripts/bench/loops.lua [ELEMENTS ...]
-- prints a table; with what scripts/bench/gpu gives it writes rows for that:
--   peri run -n N scripts/bench/loops.lua FOLDER ROWS ROUNDS CALLS ELEMENTS ...
local peri = require "peri"

local common = tonumber(arg[1] or 0) == nil and require "common"
local sizes, calls_of = {}, {}
for i = common and 5 or 1, #arg do sizes[#sizes + 1] = tonumber(arg[i]) end
if #sizes == 0 then sizes = { 1, 4096, 65536, 1048576, 8388608 } end

-- A round should be short beside what disturbs it, and long beside a look at the clock.
for _, n in ipairs(sizes) do
  calls_of[n] = common and tonumber(arg[4]) or math.max(8, math.min(2000, math.floor(1e7 / (n + 4000))))
end
local rounds = common and tonumber(common.rounds) or 60

local n = peri.world_size
local function step(x)
  x = x / (2 * n) + 1
  return n > 1 and peri.all_reduce(x, "sum") or x
end

-- Of 16 tensors in tables of tables.
local function nested(a)
  local sum = a.list[1]
  for i = 2, #a.list do sum = sum + a.list[i] end
  for _, layer in ipairs(a.layers) do sum = sum + layer.weights.left * layer.weights.right[1] end
  return step(sum)
end

-- Microseconds a call, a number for each round, of the slowest rank. The loops take turns, so that what
-- disturbs one disturbs all. The first round warms up.
local function measure(loops, calls)
  local times = {}
  for i = 1, #loops do times[i] = {} end
  for round = 0, rounds do
    for i, loop in ipairs(loops) do
      local call = loop[2]
      peri.barrier()
      local start = peri.clock()
      for _ = 1, calls do call() end
      times[i][round] = (peri.clock() - start) / calls * 1e6
    end
  end
  for i = 1, #loops do
    times[i][0] = nil
    times[i] = peri.all_reduce(peri.tensor(times[i]), "max"):totable()
  end
  return times
end

-- A machine that others use too is at its best from time to time.
local function quickest(us)
  table.sort(us)
  return us[math.ceil(#us / 10)]
end

local function report(loops, times, elements)
  if common then
    for i, loop in ipairs(loops) do
      common.write { figure = "loops", column = loop[1], elements = elements, us = times[i] }
    end
  elseif peri.rank == 0 then
    local words, bare = { string.format("%8d", elements) }, nil
    for i, loop in ipairs(loops) do
      local us = quickest(times[i])
      bare = loop[1]:find "^bare" and us or bare
      words[#words + 1] = string.format("%s %.2f (%.2f)", loop[1], us, us / bare)
    end
    print(table.concat(words, "  "))
  end
end

if not common and peri.rank == 0 then
  print("elements, then us a call (over the bare replay before it)")
end
for _, elements in ipairs(sizes) do
  local function input(seed) return peri.randn({ elements }, { dtype = "bf16", seed = seed }) end
  local x = common and common.load("x." .. peri.rank):slice(1, 1, elements) or input(1 + peri.rank)
  local a = { list = {}, layers = {} }
  for i = 1, 8 do a.list[i] = input(100 + i) end
  for i = 1, 4 do a.layers[i] = { weights = { left = input(200 + i), right = { input(300 + i) } } } end

  local out, y, y16, z = peri.zeros({ elements }, { dtype = "bf16" }), nil, nil, x
  local bare, f = peri.compile(function(t, o) o:copy_(step(t)) end), peri.compile(step)
  local two, ahead = peri.compile(step), {}
  local bare16, f16 = peri.compile(function(t, o) o:copy_(nested(t)) end), peri.compile(nested)
  local loops = {
    { "bare", function() bare(x, out) end },
    { "dropped", function() f(x) end },
    { "held", function() y = f(x) end },
    { "fed back", function() z = f(z) end },
    { "through two", function() z = two(f(z)) end },
    { "five held", function() table.insert(ahead, 1, f(x)) ahead[6] = nil end },
    { "bare, 16 inputs", function() bare16(a, out) end },
    { "16 inputs", function() y16 = f16(a) end },
  }
  local times = measure(loops, calls_of[elements])
  for i, loop in ipairs(loops) do
    for k = 1, loop[1] == "through two" and rounds or 0 do times[i][k] = times[i][k] / 2 end
  end
  report(loops, times, elements)
  local function check(result)
    assert((result - out):abs():max():item() == 0, "the loops' results differ")
  end
  check(y16)
  bare(x, out)
  for _, result in ipairs { y, ahead[1], ahead[5] } do check(result) end
end
