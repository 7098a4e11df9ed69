-- run: peri run --print-after fuse $FILE 2>&1 | grep -c -e '--- after fuse'; peri run --print-changed $FILE 2>&1 | grep -c -e '--- after'; peri run $FILE count; peri run --skip fuse $FILE count; peri run --skip memory $FILE
-- exit: 1
-- stdout: 1
-- stdout: 9
-- stdout: 1 kernels
-- stdout: 5 kernels
-- stderr: passes.lua:12: *pass "memory" cannot be skipped: later passes need what it makes
-- Passes are printed and left out by name.
local peri = require "peri"
local f = peri.compile(function(x) local y = ((x + 1) * 2):exp() return y end)

f(peri.ones { 4 })
if arg[1] then print(f:stats().kernels .. " kernels") end
