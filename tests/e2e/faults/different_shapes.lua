-- run: peri run -n 2 $FILE
-- exit: 1
-- within: 2
-- stderr: *different_shapes.lua:9: all_reduce f32[*] sum over {0,1}: ranks issued different operations*
-- stderr: *   rank 0 last entered all_reduce f32[2] sum over {0,1} at different_shapes.lua:9 (call #1)
-- stderr: *   rank 1 last entered all_reduce f32[3] sum over {0,1} at different_shapes.lua:9 (call #1)*
-- stderr: peri: all 2 ranks ended with exit code 1 (error in the script)
local peri = require "peri"
peri.all_reduce(peri.ones { 2 + peri.rank })
