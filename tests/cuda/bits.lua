-- Prints a digest of what every collective gives, per op, dtype and size: the same lines on every backend.
--   peri run -n 4 --backend cuda tests/cuda/bits.lua
local peri = require "peri"
local r, n = peri.rank, peri.world_size

-- Awkward numbers, exact in f32: sums of them round in every dtype.
local function input(dtype, count, seed)
  local values = {}
  for i = 1, count do
    local v = (i * 7919 + r * 104729 + seed * 31) % 2003 - 1001
    values[i] = dtype:find "f" and v / 64 or math.abs(v) % 200
  end
  return peri.tensor(values, { dtype = dtype })
end

local function digest(t)
  local sum, values = 0, t:reshape(t:numel()):to "host":totable()
  for i, v in ipairs(values) do sum = (sum * 31 + v * 4096 + i) % 2 ^ 40 end
  return string.format("%.0f", sum)
end

local function show(what, t)
  local all = digest(t)
  if r == 0 then print(what, all) end
end

for seed, dtype in ipairs { "f32", "f16", "bf16", "i32", "i64", "u8" } do
  for _, count in ipairs { 1, 5, 1000, 30001 } do
    local x = input(dtype, count, seed)
    for _, reduce in ipairs { "sum", "avg", "min", "max", "prod" } do
      if reduce ~= "avg" or dtype:find "f" then
        for _, algorithm in ipairs { "ll", "one_shot", "two_shot" } do
          show(table.concat({ "all_reduce", algorithm, reduce, dtype, count }, " "),
               x:all_reduce { reduce = reduce, algorithm = algorithm })
        end
      end
    end
    show("broadcast " .. dtype .. " " .. count, peri.broadcast(x, n - 1))
    local y = input(dtype, n * count, seed):reshape { n, count }
    for _, algorithm in ipairs { "ll", "one_shot" } do
      local how = " " .. algorithm .. " " .. dtype .. " " .. count
      show("all_gather" .. how, y:all_gather { dim = 2, algorithm = algorithm })
      show("reduce_scatter" .. how, y:reduce_scatter { reduce = "sum", dim = 1, algorithm = algorithm })
      show("all_to_all" .. how, y:all_to_all { split_dim = 1, concat_dim = 2, algorithm = algorithm })
    end
  end
end
