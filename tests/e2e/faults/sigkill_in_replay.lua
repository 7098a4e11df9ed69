-- run: peri run -n 3 --timeout 1 $FILE
-- exit: 137
-- within: 2
-- stderr: [0,2] sigkill_in_replay.lua:9: all_reduce f32[4] sum over {0,1,2}: rank 1 was lost (killed or exited)
-- stderr: [0,2]    rank 1 last entered all_reduce f32[4] sum over {0,1,2} at sigkill_in_replay.lua:9 (call #3)
-- stderr: peri: rank 1 was killed by SIGKILL
local peri = require "peri"
local f = peri.compile(function(x)
  local y = x:all_reduce()
  return y:exp()
end)
local x = peri.ones { 4 }
f(x) f(x)
if peri.rank == 1 then os.execute "kill -KILL $PPID" end
f(x)
