-- run: peri run -n 3 $FILE
-- exit: 137
-- within: 2
-- stderr: *
-- The launcher dies of SIGKILL: its ranks die with it (the runner looks for processes that are left).
local peri = require "peri"
local launcher = io.open "/proc/self/stat":read "*a":match "%) %S+ (%d+)"
if peri.rank == 0 then os.execute("kill -KILL " .. launcher) end
while true do end
