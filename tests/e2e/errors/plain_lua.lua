-- run: peri run -n 2 $FILE ${PERI_E2E_SLOW:-1}
-- What plain Lua could break: finalizers called by hand, windows whose extents wrap round, absurd sizes, arguments
-- that are missing, exit codes that the system cuts.
local peri = require "peri"
local rt = require "peri.runtime"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local f
f = peri.compile(function(x) getmetatable(f).__gc(f) return x end)
check.raises("*attempt to index a boolean value", f, peri.ones { 1 })
assert(not (getmetatable(peri.world) or getmetatable(peri.ones { 1 }) or getmetatable(f)))
local x = peri.ones { 4 }
local outside = "*: view: the window lies outside the buffer"
check.raises(outside, rt.view, x, { 3, 2 ^ 40 }, { 2 ^ 53, 2 ^ 53 }, 0)
check.raises(outside, rt.view, x, { 2 ^ 12 + 1 }, { 2 ^ 52 }, 0)
check.raises(outside, rt.view, x, { 3 }, { 2 ^ 53 }, -2 ^ 53)
check.raises(outside, rt.view, x, { 5 }, { 1 }, 0)
check.raises(outside, rt.view, x, { 2 }, { 1 }, -1)
check.is(rt.view(x, { 2, 2 }, { -2, 1 }, 2), 1, 1, 1, 1)
local group = { 1 - peri.rank }
check.raises("*shard: rank * is not in group {*}, and has no part*", x.shard, x, 1, group)
local compiled = peri.compile(function(y) return y:shard(1, group) end)
check.raises("*shard: rank * is not in group {*}, and has no part*", compiled, x)
local absurd = { host = "*takes more memory than there *", cuda = "*cannot have so many elements*" }
-- AddressSanitizer, under which everything is slow, ends a process that asks for too much memory.
if arg[1] == "1" then
  check.raises(absurd[peri.backend], function() return peri.ones { 1 }:expand { 2 ^ 45 }:sum() end)
end
local missing = "*symm.one_shot_all_reduce_out: the last argument, out, is missing"
check.raises(missing, peri.symm.one_shot_all_reduce_out)
check.raises("*os.exit: the code must be from 0 to 255, not 256", os.exit, 256)
check.raises("*os.exit: the code must be from 0 to 255, not -1", os.exit, -1)
