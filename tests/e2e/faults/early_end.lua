-- run: peri run -n 3 $FILE
-- exit: 113
-- within: 2
-- stderr: [0,2] early_end.lua:11: all_reduce f32[4] sum over {0,1,2}: rank 1 has already finished
-- stderr: [0,2]    rank 1 last entered barrier f32[] over {0,1,2} at early_end.lua:9 (call #1)
-- stderr: peri: rank * ended with exit code 113 (lost another rank); rank 1 had already finished
-- A script that ends early on one rank.
local peri = require "peri"
peri.barrier()
if peri.rank == 1 then return end
peri.all_reduce(peri.ones { 4 })
