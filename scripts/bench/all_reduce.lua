-- Peri's side of scripts/bench/gpu: all-reduce (bf16, sum), by size, as peri chooses and by each algorithm.
-- One graph holds a chain of them, each on the last one's result, and nothing else but the copy of the input
-- into symmetric memory where the algorithm needs it there; that copy is part of the time.
--   peri run -n N scripts/bench/all_reduce.lua FOLDER ROWS ROUNDS BYTES:CHAIN:REPLAYS ...
local peri = require "peri"
local common = require "common"

local input = common.load("x." .. peri.rank)
local most = { ll = 4 * 2 ^ 20, one_shot = math.huge, two_shot = math.huge, auto = math.huge } -- bytes

for i = 4, #arg do
  local bytes, chain, replays = arg[i]:match "^(%d+):(%d+):(%d+)$"
  bytes, chain, replays = tonumber(bytes), tonumber(chain), tonumber(replays)
  local x = input:slice(1, 1, bytes / 2)
  for _, algorithm in ipairs { "auto", "ll", "one_shot", "two_shot" } do
    if bytes <= most[algorithm] then
      local f = peri.compile(function(t)
        for _ = 1, chain do t = peri.all_reduce(t, "sum") end
        return t
      end, { policy = { all_reduce = algorithm ~= "auto" and algorithm or nil } })
      local times = common.time(replays, function() f(x) end)
      for k, t in ipairs(times) do times[k] = t / chain end
      local result = common.save(string.format("all_reduce.%d.%s", bytes, algorithm), f(x))
      local stats = f:stats()
      common.write {
        figure = "all_reduce", column = algorithm, bytes = bytes, chain = chain, us = times, result = result,
        chosen = f:explain():match "all_reduce at %S+  ([%w_]+)", input_copies = stats.input_copies,
        others = stats.identity_copies + stats.kernels + stats.partitions - stats.captured_partitions,
      }
    end
  end
end
