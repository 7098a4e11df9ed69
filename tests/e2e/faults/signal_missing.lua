-- run: peri run -n 2 --timeout 1 $FILE silent; peri run -n 2 --timeout 1 $FILE killed
-- exit: 137
-- within: 6
-- stderr: [0] signal_missing.lua:15: wait_signal from rank 1, channel 3 over {0,1}: no sign of rank 1 for 1 s; it last entered barrier f32[] over {0,1} at signal_missing.lua:13 (call #2)
-- stderr: peri: rank 0 ended with exit code 124 (timeout)*
-- stderr: [0] signal_missing.lua:15: wait_signal from rank 1, channel 3 over {0,1}: rank 1 was lost (killed or exited)
-- stderr: [0]    rank 1 last entered barrier f32[] over {0,1} at signal_missing.lua:13 (call #2)
-- stderr: peri: rank 1 was killed by SIGKILL
-- A signal that nobody puts, and one of a rank that is lost: named, with line and channel.
local peri = require "peri"
local what = ...
local x = peri.symm.empty { 4 }
peri.barrier()
if peri.rank == 0 then
  peri.symm.wait_signal(x, 1, { channel = 3 })
elseif what == "killed" then
  os.execute "kill -KILL $PPID"
else
  os.execute "sleep 2"
  peri.symm.put_signal(x, 0, { channel = 2 })
end
