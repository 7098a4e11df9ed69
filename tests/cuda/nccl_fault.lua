-- Rank 1 ends or stops while the others wait for it in NCCL: called at once, or in a graph ("replay").
--   peri run -n 2 --backend cuda --timeout 2 tests/cuda/nccl_fault.lua KILL|STOP [replay]
local peri = require "peri"
local function sum(x) return x:all_reduce { algorithm = "nccl" } end
local f = arg[2] == "replay" and peri.compile(sum) or sum
local x = peri.ones { 1024 }
for _ = 1, 3 do f(x) end
peri.barrier()
if peri.rank == 1 then os.execute("kill -" .. arg[1] .. " $PPID") end
print(f(x):slice(1, 1, 1):to "host":item())
