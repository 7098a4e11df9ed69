-- Peri's side of scripts/bench/gpu: what a call takes in loops as people write them (bf16), beside the bare
-- replay of the same program, which writes its result into an argument and so has no outputs.
--   peri run -n N scripts/bench/loops.lua FOLDER ROWS ROUNDS CALLS ELEMENTS ...
local peri = require "peri"
local common = require "common"

local input, n = common.load("x." .. peri.rank), peri.world_size
local function step(x) return peri.all_reduce(x / (2 * n) + 1, "sum") end

for i = 5, #arg do
  local elements = tonumber(arg[i])
  local x = input:slice(1, 1, elements)
  local out, y, z = peri.zeros({ elements }, { dtype = "bf16" }), nil, x
  local bare, f = peri.compile(function(t, o) o:copy_(step(t)) end), peri.compile(step)
  local two, ahead = peri.compile(step), {}
  local loops = {
    { "bare", function() bare(x, out) end },
    { "dropped", function() f(x) end },
    { "held", function() y = f(x) end },
    { "fed back", function() z = f(z) end },
    { "through two", function() z = two(f(z)) end },
    { "five held", function() table.insert(ahead, 1, f(x)) ahead[6] = nil end },
  }
  for _, loop in ipairs(loops) do
    local us = common.time(tonumber(arg[4]), loop[2])
    if loop[1] == "through two" then
      for k, t in ipairs(us) do us[k] = t / 2 end
    end
    common.write { figure = "loops", column = loop[1], elements = elements, us = us }
  end
  for _, result in ipairs { y, ahead[1], ahead[5] } do
    assert((result - out):abs():max():item() == 0, "the loops' results differ")
  end
end
