-- run: peri run -n 3 $FILE
-- exit: 130
-- within: 2
-- stderr: *interrupt_in_collective.lua:10: barrier f32[] over {0,1,2}: interrupted*
-- stderr: peri: interrupted
-- Ctrl-C while ranks wait for one that is busy.
local peri = require "peri"
local launcher = io.open "/proc/self/stat":read "*a":match "%) %S+ (%d+)"
if peri.rank == 0 then os.execute("(sleep 0.2; kill -INT " .. launcher .. ") &") end
while peri.rank == 0 do end peri.barrier()
