-- run: peri run -n 3 --timeout 1 $FILE
-- exit: 124
-- within: 3
-- stderr: *sigstop_in_replay.lua:8: all_reduce f32[4] sum over {0,1,2}: no sign of rank 1 for 1 s; it last entered all_reduce f32[4] sum over {0,1,2} at sigstop_in_replay.lua:8 (call #3)*
-- stderr: peri: rank 1 was stopped by SIGSTOP, and rank * ended with exit code 124 (timeout)
local peri = require "peri"
local f = peri.compile(function(x)
  local y = x:all_reduce()
  return y:exp()
end)
local x = peri.ones { 4 }
f(x) f(x)
if peri.rank == 1 then os.execute "kill -STOP $PPID" end
f(x)
