-- run: peri run -n 3 $FILE
-- exit: 1
-- within: 2
-- stderr: *rank 1 failed: raise.lua:13: boom*
-- stderr: [1] raise.lua:13: boom
-- stderr: [1] stack traceback:
-- stderr: [1] 	raise.lua:13: in function 'inner'
-- stderr: [1] 	raise.lua:15: in function 'outer'
-- stderr: [1] 	raise.lua:17: in main chunk*
-- stderr: peri: rank 1 ended with exit code 1 (error in the script)
local peri = require "peri"
local function inner()
  if peri.rank == 1 then error "boom" end
end
local function outer() inner() end
peri.barrier()
outer()
peri.all_reduce(peri.ones { 4 })
