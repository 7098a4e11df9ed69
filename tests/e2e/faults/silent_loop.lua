-- run: peri run -n 2 --timeout 0.5 $FILE
-- exit: 124
-- within: 3
-- stderr: [0] silent_loop.lua:11: barrier f32[] over {0,1}: no sign of rank 1 for 0.5 s; it has entered no operation yet
-- stderr: [0]    a : f32[]   made at silent_loop.lua:11
-- stderr: [1] silent_loop.lua:10: interrupted
-- stderr: peri: rank 0 ended with exit code 124 (timeout)
-- stderr: peri: rank 1 did not end within a second after that and had to be stopped
local peri = require "peri"
while peri.rank == 1 do end
peri.barrier()
