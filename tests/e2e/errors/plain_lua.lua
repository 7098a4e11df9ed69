-- run: peri run -n 2 $FILE ${PERI_E2E_SLOW:-1}
-- What plain Lua could break: finalizers called by hand, windows whose extents wrap round, absurd sizes,
-- arguments that are missing, exit codes that the system cuts.
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
-- Dimensions of conveniences follow the ops' rule; nothing out of range is taken for something else.
local m = peri.ones { 2, 3 }
check.raises("*plain_lua.lua:*: unsqueeze: dim 4 is out of range: it counts to 3 from 1, *",
             function() m:unsqueeze(4) end)
check.raises("*unsqueeze: dim -4 is out of range*", m.unsqueeze, m, -4)
check.raises("*unsqueeze: dim must be a whole number, not 1.5", m.unsqueeze, m, 1.5)
check.raises("*squeeze: dim 3 is out of range: it counts to 2 from 1, *", m.squeeze, m, 3)
check.raises("*select: dim 0 is out of range: it counts to 2 from 1, *", m.select, m, 0, 1)
check.raises("*chunk: dim 3 is out of range*", m.chunk, m, 2, 3)
check.raises("*chunk: n must be a positive whole number, not 0", m.chunk, m, 0)
check.raises("*flatten: dim 2 comes after dim 1", m.flatten, m, 2, 1)
check.raises("*flatten: last 3 is out of range*", m.flatten, m, 1, 3)
assert(m:unsqueeze(3):size(3) == 1 and m:unsqueeze(-3):size(1) == 1 and m:flatten(1, -1):size(1) == 6)
-- The debug library can give our metatable to another userdata, and take ours away. Neither crashes.
local tensors = debug.getmetatable(m)
debug.setmetatable(io.stdout, tensors)
check.raises("*must be a tensor, not a userdata", tensors.__index, io.stdout, 1)
check.raises("*not a userdata", peri.sum, io.stdout)
assert(m:sum():item() == 6)
debug.setmetatable(m, nil)
assert(peri.sum(m):item() == 6)
debug.setmetatable(m, tensors)  -- so that it is freed
local registry = debug.getregistry()
for key in pairs(registry) do registry[key] = nil end
check.raises("*the script has cleared Lua's registry, where peri keeps what it needs", peri.ones, { 1 })
