-- What tests/cuda/kills runs: checks sums, says that it is there, then replays collectives until something
-- ends it.
--   peri run -n N tests/cuda/kills.lua FOLDER [once]
-- FOLDER/RANK: the rank's process; FOLDER/raise.RANK: it shall raise.
local peri = require "peri"
local folder, r, n = arg[1], peri.rank, peri.world_size
local x = peri.ones { 4099 } * (r + 1)
local f = peri.compile(function(t)
  for _ = 1, 4 do t = peri.all_reduce(t, "avg") + 0 end
  return t, t:all_gather()
end, { policy = { all_reduce = "one_shot" } })

assert(peri.all_reduce(x):sum():item() == 4099 * n * (n + 1) / 2, "a wrong sum")
local y = f(x)
assert(y:sum():item() == 4099 * (n + 1) / 2, "a wrong average")
peri.barrier()
if arg[2] == "once" then return end
local stat = io.open "/proc/self/stat"
local note = assert(io.open(folder .. "/" .. r, "w"))
note:write(stat:read "*a":match "^%d+")
note:close()
while true do
  for _ = 1, 5 do f(x) end
  -- Waits, so that a stopped rank's GPU has little left to do: as long as it works its rank is not silent.
  assert(peri.all_reduce(x, "max"):sum():item() == 4099 * n, "a wrong maximum")
  if io.open(folder .. "/raise." .. r) then error "planted" end
end
