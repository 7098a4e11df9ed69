-- run: export WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=$$; RANK=1 peri run $FILE & RANK=0 peri run -n 7 $FILE; wait $!
-- stdout: rank 0 of 2:  3 3 3
-- stdout: [f32[3]]
-- The variables that torchrun sets; -n does not count then.
local peri = require "peri"
local sum = peri.all_reduce(peri.ones { 3 } * (peri.rank + 1))
if peri.rank == 0 then print("rank 0 of " .. peri.world_size .. ": " .. tostring(sum)) end
