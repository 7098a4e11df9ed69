-- Peri's side of scripts/bench/gpu: how long the first call of a compiled function takes, in a process that
-- has compiled nothing; then that many shapes, groups and functions in one process are all right.
--   peri run -n N scripts/bench/compile.lua FOLDER ROWS ROUNDS LAYERS SEQUENCE ...
local peri = require "peri"
local common = require "common"

local layers, weights = tonumber(arg[4]), {}
for i = 1, layers do weights[i] = common.load("w" .. i) end
local inputs = {}
for i = 5, #arg do inputs[i] = common.load("s" .. arg[i] .. "." .. peri.rank) end

local model = peri.compile(function(h)
  for i = 1, layers do h = peri.all_reduce(h:mm(weights[i]), "sum") end
  return h
end)
for i = 5, #arg do
  peri.barrier()
  local start = peri.clock()
  model(inputs[i])
  local ms = (peri.clock() - start) * 1e3
  common.write {
    figure = "compile", column = i == 5 and "first" or "second", sequence = tonumber(arg[i]),
    ms = peri.all_reduce(peri.tensor { ms, model:stats().compile_ms }, "max"):totable(),
  }
end

-- Rank r contributes 2 (r + 1), so every result is known.
local function expected(reduce, ranks)
  local values = {}
  for i, r in ipairs(ranks) do values[i] = 2 * (r + 1) end
  if reduce == "max" then return math.max(unpack(values)) end
  local sum = 0
  for _, v in ipairs(values) do sum = sum + v end
  return reduce == "avg" and sum / #values or sum
end

local n = peri.world_size
local groups, pair = { peri.world }, peri.rank - peri.rank % 2
if n % 2 == 0 then groups[2] = peri.group { pair, pair + 1 } end
local checks = 0
for _, group in ipairs(groups) do
  for _, reduce in ipairs { "sum", "max", "avg" } do
    local f = peri.compile(function(x) return peri.all_reduce(x * 2, reduce, group) end, { group = group })
    for _, shape in ipairs { { 1 }, { 3, 5 }, { 1000 }, { 128, 256 }, { 2, 512, 1024 } } do
      for _ = 1, 2 do
        local y, want = f(peri.full(shape, peri.rank + 1)), expected(reduce, group.ranks)
        local low, high = y:flatten():min(1):item(), y:flatten():max(1):item()
        if low ~= want or high ~= want then
          error(string.format("%s over %d ranks is %g to %g, not %g", reduce, group.size, low, high, want))
        end
        checks = checks + 1
      end
    end
  end
end
common.write { figure = "compile", column = "checks", passed = checks }
