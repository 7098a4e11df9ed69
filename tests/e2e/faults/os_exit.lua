-- run: peri run -n 3 $FILE
-- exit: 3
-- within: 2
-- stderr: [0,2] os_exit.lua:14: all_reduce f32[4] sum over {0,1,2}: rank 1 failed: os_exit.lua:13: os.exit(3)
-- stderr: [0,2]    a : f32[4]   made at os_exit.lua:14
-- stderr: peri: rank 1 ended with exit code 3
-- stderr: peri: rank 1 wrote nothing to stderr
-- stderr(cuda): [0,2] os_exit.lua:14: all_reduce f32[4] sum over {0,1,2}: rank 1 failed: os_exit.lua:13: os.exit(3)
-- stderr(cuda): peri: rank 1 ended with exit code 3
-- stderr(cuda): peri: rank 1 wrote nothing to stderr
local peri = require "peri"
peri.barrier()
if peri.rank == 1 then os.exit(3) end
peri.all_reduce(peri.ones { 4 })
