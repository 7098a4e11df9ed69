-- Prints a digest of what every collective gives, per op, dtype and size: the same lines on every backend.
--   peri run -n 4 --backend cuda tests/cuda/bits.lua [count ...]
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

local counts = #arg > 0 and arg or { 1, 5, 1000, 30001 }
for seed, dtype in ipairs { "f32", "f16", "bf16", "i32", "i64", "u8" } do
  for _, count in ipairs(counts) do
    count = tonumber(count)
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
    show("reduce " .. dtype .. " " .. count, peri.reduce(x, "sum", n - 1))
    if n > 1 then  -- around the ring; rank 0 begins
      local got
      if r == 0 then peri.send(x, 1) got = peri.recv(x, n - 1)
      else got = peri.recv(x, r - 1) peri.send(x, (r + 1) % n) end
      show("send, recv " .. dtype .. " " .. count, got)
    end
    local y = input(dtype, n * count, seed):reshape { n, count }
    for _, algorithm in ipairs { "ll", "one_shot" } do
      local how = " " .. algorithm .. " " .. dtype .. " " .. count
      show("all_gather" .. how, y:all_gather { dim = 2, algorithm = algorithm })
      show("reduce_scatter" .. how, y:reduce_scatter { reduce = "sum", dim = 1, algorithm = algorithm })
      show("all_to_all" .. how, y:all_to_all { split_dim = 1, concat_dim = 2, algorithm = algorithm })
    end
  end
end
