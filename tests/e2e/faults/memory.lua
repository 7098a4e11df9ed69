-- run: peri run -n 2 $FILE
-- exit: 1
-- within: 2
-- stderr: [0-1] memory.lua:11: full: 3725.3 GiB of device memory: the machine has * left, and the job holds *
-- stderr: [0-1]    hint: make the problem or the number of ranks smaller
-- stderr: peri: all 2 ranks ended with exit code 1 (error in the script)
-- stderr(cuda): *memory.lua:11: full: 3725.3 GiB of device memory: GPU * has * of * left*
-- stderr(cuda): *   hint: make the problem or the number of ranks smaller
-- stderr(cuda): peri: all 2 ranks ended with exit code 1 (error in the script)
local peri = require "peri"
peri.ones { 1e12 }
