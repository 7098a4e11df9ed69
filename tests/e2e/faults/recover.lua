-- run: peri run -n 3 $FILE
-- stdout: [0] rank 1 failed: it stopped, for the job to recover
-- stdout: [0] 48	12	7
-- After a failure that a script catches, peri.recover brings all ranks together again: eager, compiled, symmetric.
local peri = require "peri"
local double = peri.compile(function(x) return peri.all_reduce(x * 2, "sum") end)
local x, kept = peri.ones { 8 }, peri.symm.empty { 8 }
kept:copy_(x)
double(x)
for round = 1, 6 do
  local ok, e = pcall(function()
    if peri.rank == round % 3 then error("round " .. round) end
    return double(x):sum():item()
  end)
  assert(not ok)
  if peri.rank == 0 and round == 1 then print(e.message:match "rank 1 failed: .*") end
  peri.recover()
  assert(double(x):sum():item() == 48 and kept:sum():item() == 8)
  assert(peri.symm.one_shot_all_reduce(kept, "sum"):sum():item() == 24)
end
peri.recover()  -- also when nothing has failed
local last = { double(x):sum():item(), peri.all_reduce(peri.ones { 4 }):sum():item(), peri.barrier() or 7 }
if peri.rank == 0 then print(unpack(last)) end
