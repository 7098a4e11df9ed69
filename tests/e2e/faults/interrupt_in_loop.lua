-- run: peri run -n 3 $FILE
-- exit: 130
-- within: 2
-- stderr: *interrupt_in_loop.lua:10: interrupted*
-- stderr: peri: interrupted
-- Ctrl-C while every rank is in a pure Lua loop that catches errors.
local peri = require "peri"
local launcher = io.open "/proc/self/stat":read "*a":match "%) %S+ (%d+)"
if peri.rank == 0 then os.execute("(sleep 0.2; kill -INT " .. launcher .. ") &") end
while true do end
