-- Peri's side of scripts/bench/gpu: what a call takes in loops as people write them (bf16), beside the bare
-- replay of the same program, which writes its result into an argument and so has no outputs.
--   peri run -n N scripts/bench/loops.lua FOLDER ROWS ROUNDS CALLS ELEMENTS ...
local peri = require "peri"
local common = require "common"

local n = peri.world_size
local function step(x) return peri.all_reduce(x / (2 * n) + 1, "sum") end

-- Of 16 tensors in tables of tables.
local function nested(a)
  local sum = a.list[1]
  for i = 2, #a.list do sum = sum + a.list[i] end
  for _, layer in ipairs(a.layers) do sum = sum + layer.weights.left * layer.weights.right[1] end
  return step(sum)
end

for i = 5, #arg do
  local elements = tonumber(arg[i])
  local function input(seed) return peri.randn({ elements }, { dtype = "bf16", seed = seed }) end
  local x = common.load("x." .. peri.rank):slice(1, 1, elements)
  local a = { list = {}, layers = {} }
  for k = 1, 8 do a.list[k] = input(100 + k) end
  for k = 1, 4 do a.layers[k] = { weights = { left = input(200 + k), right = { input(300 + k) } } } end

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
  for _, loop in ipairs(loops) do
    local us = common.time(tonumber(arg[4]), loop[2])
    if loop[1] == "through two" then
      for k, t in ipairs(us) do us[k] = t / 2 end
    end
    common.write { figure = "loops", column = loop[1], elements = elements, us = us }
  end
  local function check(result)
    assert((result - out):abs():max():item() == 0, "the loops' results differ")
  end
  check(y16)
  bare(x, out)
  for _, result in ipairs { y, ahead[1], ahead[5] } do check(result) end
end
