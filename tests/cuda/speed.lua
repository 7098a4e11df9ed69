-- Microseconds per all-reduce (bf16, avg) inside one graph of many, by size and algorithm.
--   peri run -n 2 --backend cuda tests/cuda/speed.lua
local peri = require "peri"
local sizes = { 2, 16, 64, 128, 256, 512, 1024, 2048, 4096, 16384, 65536 }  -- KiB
local names = { "ll", "one_shot", "two_shot" }
if peri.rank == 0 then
  print(string.format("us, bf16, %d ranks\n%10s%12s%12s%12s", peri.world_size, "KiB", unpack(names)))
end
for _, kib in ipairs(sizes) do
  local row = string.format("%10d", kib)
  for _, name in ipairs(names) do
    local chain = kib > 2048 and 4 or 16
    local x = peri.randn({ kib * 512 }, { dtype = "bf16", seed = 1 + peri.rank })
    local f = peri.compile(function(t)
      for _ = 1, chain do t = peri.all_reduce(t, "avg") end
      return t
    end, { policy = { all_reduce = name } })
    local best = math.huge
    for _ = 1, 5 do
      f(x)
      peri.barrier()
      local start, calls = peri.clock(), 5
      for _ = 1, calls do f(x) end
      best = math.min(best, (peri.clock() - start) / (calls * chain))
    end
    row = row .. string.format("%12.2f", best * 1e6)
  end
  if peri.rank == 0 then print(row) end
end
