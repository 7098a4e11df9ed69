-- run: peri run -n 3 $FILE
-- exit: 1
-- within: 2
-- stderr: [0-2] different_programs.lua:16: compile: ranks traced different programs; the first difference is line 3
-- stderr: [0-2]    rank 0 : relu(arg0) -> buf0  {(f32) r1 = relu(r0) : f32 -> r1}  @ different_programs.lua:13
-- stderr: [0-2]    rank 1 : exp(arg0) -> buf0  {(f32) r1 = exp(r0) : f32 -> r1}  @ different_programs.lua:12
-- stderr: [0-2]    hint: every rank must trace the same operations; what depends on the rank goes into the arguments, or through peri.shard; ranks with programs of their own: `peri help pipelines`
-- stderr: peri: all 3 ranks ended with exit code 1 (error in the script)
local peri = require "peri"
local f = peri.compile(function(x)
  local y
  if peri.rank == 1 then y = x:exp()
  else y = x:relu() end
  return y
end)
f(peri.ones { 2 })
