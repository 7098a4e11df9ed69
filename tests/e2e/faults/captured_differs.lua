-- run: peri run -n 3 $FILE; peri run -n 2 $FILE later
-- exit: 1
-- within: 2
-- stderr: [0-2] captured_differs.lua:*: compile: ranks traced different programs; the first difference is line *
-- stderr: [0-2]    rank 0 : *
-- stderr: [0-2]    rank 2 : *
-- stderr: [0-2]    captured : own = 0 on rank 0, own = 2 on rank 2
-- stderr: [0-2]    captured : n = 1 on rank 0, n = 2 on rank 2
-- stderr: [0-2]    hint: every rank must trace the same operations; *
-- stderr: peri: all 3 ranks ended with exit code 1 (error in the script)
-- stderr: [0] captured_differs.lua:*: compile: comparing the ranks' programs (the captured variable 'n' has changed): rank 1 failed: *
-- stderr: [1] captured_differs.lua:*: all_reduce f32[2] sum over {0,1}: ranks issued different operations
-- stderr: [1]    rank 0 last entered compile: comparing the ranks' programs (the captured variable 'n' has changed) (call #*)
-- stderr: [1]    rank 1 last entered all_reduce f32[2] sum over {0,1} at captured_differs.lua:* (call #*)
-- stderr: [1]    hint: every member of a group issues the same collectives, *
-- stderr: peri: rank * ended with exit code 1 (error in the script)*
local peri = require "peri"
local n, own = peri.rank == 2 and 2 or 1, peri.rank  -- one that makes no difference may differ
local f = peri.compile(function(x) if own > 5 then return x end return (x:all_reduce() * n) end)
f(peri.ones { 2 })
if peri.rank == 0 then n = 3 end
f(peri.ones { 2 })
