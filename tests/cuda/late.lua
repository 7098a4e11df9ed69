-- A rank that comes late, after its peers have given up, gets an error from them and never wrong numbers: the
-- others' later all-reduces, which are still in their streams, must tell it nothing.
--   peri run -n 2 --backend cuda --timeout 1 tests/cuda/late.lua
local peri = require "peri"
local last = peri.world_size - 1
local x = peri.ones { 1048576 }
local want = x:all_reduce():sum():item() * peri.world_size ^ 2  -- also makes what is made once

if peri.rank == last then os.execute "kill -STOP $PPID & (sleep 2.5; kill -CONT $PPID) &" end
local ok, result = pcall(function()
  local y = x
  for _ = 1, 3 do y = y:all_reduce() end
  return y:sum():item()
end)
print(string.format("rank %d: %s", peri.rank, ok and "got " .. result .. " of " .. want or tostring(result)))
if peri.rank ~= last then os.execute "sleep 6" end  -- the late one still runs
assert(not ok)
