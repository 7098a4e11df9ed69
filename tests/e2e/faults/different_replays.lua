-- run: peri run -n 2 $FILE
-- exit: 1
-- within: 2
-- stderr: [0-1] different_replays.lua:*: all_reduce f32[2] sum over {0,1}: ranks issued different operations
-- stderr: [0-1]    rank 0 last entered all_reduce f32[2] sum over {0,1} at different_replays.lua:* (call #*)
-- stderr: [0-1]    rank 1 last entered all_reduce f32[2] sum over {0,1} at different_replays.lua:* (call #*)
-- stderr: [0-1]    hint: every member of a group issues the same collectives, and calls the same compiled functions, *
-- stderr: peri: all 2 ranks ended with exit code 1 (error in the script)
-- Two compiled functions whose collectives look alike, even of one line, called in other orders.
local peri = require "peri"
local function make(n) return peri.compile(function(x) return (peri.all_reduce(x * n, "sum")) end) end
local f, g = make(1), make(100)
local x = peri.ones { 2 }
for _ = 1, 3 do f(x) g(x) end
assert(f(x)[1]:item() == 2 and g(x)[1]:item() == 200)
if peri.rank == 0 then f(x) g(x) else g(x) f(x) end
print(f(x))
