-- run: peri run -n 3 --timeout 1 $FILE
-- exit: 124
-- within: 3
-- stderr: *sigstop_in_collective.lua:9: barrier f32[] over {0,1,2}: no sign of rank 1 for 1 s; it has entered no operation yet*
-- stderr: peri: rank 1 was stopped by SIGSTOP, and rank * ended with exit code 124 (timeout)
local peri = require "peri"
if peri.rank == 1 then os.execute "kill -STOP $PPID" end

peri.barrier()
