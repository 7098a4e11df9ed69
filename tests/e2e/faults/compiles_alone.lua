-- run: peri run -n 3 $FILE; peri run -n 3 $FILE eager
-- exit: 1
-- within: 2
-- stderr: *[1] compiles_alone.lua:*: compile: comparing the ranks' programs: rank * failed: *ranks issued different operations*
-- stderr: *   rank 1 last entered compile: comparing the ranks' programs (call #*)*
-- stderr: *   hint: every member of a group issues the same collectives, and calls the same compiled functions, *
-- One rank compiles for a new shape, where the others replay, or meet in an eager collective.
local peri = require "peri"
local f = peri.compile(function(x) return (peri.all_reduce(x)) end)
for _ = 1, 3 do f(peri.ones { 2 }) end
if peri.rank == 1 then
  f(peri.ones { 3 })
elseif arg[1] then
  peri.all_reduce(peri.ones { 2 })
else
  f(peri.ones { 2 })
end
peri.barrier()
