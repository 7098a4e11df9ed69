-- run: mpirun -n 2 --allow-run-as-root --oversubscribe peri run $FILE
-- needs: mpirun
-- stdout: rank 0 of 2:  3 3 3
-- stdout: [f32[3]]
-- Under mpirun each process takes its rank from the environment instead of starting ranks.
local peri = require "peri"
local sum = peri.all_reduce(peri.ones { 3 } * (peri.rank + 1))
if peri.rank == 0 then print("rank 0 of " .. peri.world_size .. ": " .. tostring(sum)) end
