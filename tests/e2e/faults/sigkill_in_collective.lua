-- run: peri run -n 3 --timeout 1 $FILE
-- exit: 137
-- within: 2
-- stderr: [0,2] sigkill_in_collective.lua:10: all_reduce f32[4] sum over {0,1,2}: rank 1 was lost (killed or exited)
-- stderr: [0,2]    rank 1 last entered barrier f32[] over {0,1,2} at sigkill_in_collective.lua:8 (call #1)
-- stderr: peri: rank 1 was killed by SIGKILL
local peri = require "peri"
peri.barrier()
if peri.rank == 1 then os.execute "kill -KILL $PPID" end
peri.all_reduce(peri.ones { 4 })
