-- run: peri run -n 2 $FILE
-- exit: 1
-- within: 2
-- stderr: *different_collectives.lua:1*: all_*: ranks issued different operations*
-- stderr: *   rank 0 last entered all_reduce f32[2] sum over {0,1} at different_collectives.lua:14 (call #2)
-- stderr: *   rank 1 last entered all_gather f32[2] along dim 1 over {0,1} at different_collectives.lua:12 (call #2)
-- stderr: *   hint: every member of a group issues the same collectives, and calls the same compiled functions, in the same order
-- stderr: peri: all 2 ranks ended with exit code 1 (error in the script)
local peri = require "peri"
peri.barrier()
if peri.rank == 1 then
  peri.all_gather(peri.ones { 2 })
else
  peri.all_reduce(peri.ones { 2 })
end
