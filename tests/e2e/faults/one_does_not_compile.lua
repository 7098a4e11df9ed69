-- run: peri run -n 2 $FILE
-- exit: 113
-- within: 2
-- stderr: [0] one_does_not_compile.lua:9: compile: comparing the ranks' programs: rank 1 has already finished
-- stderr: [0]    rank 1 has entered no operation yet
-- stderr: peri: rank 0 ended with exit code 113 (lost another rank); rank 1 had already finished
local peri = require "peri"
local f = peri.compile(function(x) return x:all_reduce() end)
if peri.rank == 0 then f(peri.ones { 3 }) end
