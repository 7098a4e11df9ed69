-- run: peri run -n 2 $FILE | grep -A 1 first
-- stdout: [0] first
-- stdout: [0] 	second
-- What one print writes is not torn by another rank's, even where its text takes a while to make.
local peri = require "peri"
local slow = setmetatable({}, { __tostring = function()
  peri.barrier()
  peri.barrier()
  return "second"
end })
if peri.rank == 0 then
  print("first\n", slow)
else
  peri.barrier()
  print "between"
  local start = peri.clock()
  while peri.clock() < start + 0.1 do end
  peri.barrier()
end
