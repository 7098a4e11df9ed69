-- run: peri run -n 4 $FILE
-- Groups of any ranks, meshes, and several of both in one program.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local even, odd = peri.group { 0, 2 }, peri.group { 1, 3 }
local mine = peri.rank % 2 == 0 and even or odd
local x = peri.ones { 3 } * (peri.rank + 1)
check.is(peri.all_reduce(x, { group = mine }), unpack(mine == even and { 4, 4, 4 } or { 6, 6, 6 }))
assert(mine.size == 2 and mine.index == math.floor(peri.rank / 2) and even == peri.group { 0, 2 }
       and even ~= odd)
assert((mine == even and odd or even).index == nil and tostring(peri.world) == "group {0,1,2,3}")
local mesh = peri.mesh { { "dp", 2 }, { "tp", 2 } }
local same = peri.mesh { dp = 2, tp = 2 }
assert(mesh.tp == same.tp and mesh.dp == same.dp)
assert(mesh.tp == peri.group(peri.rank < 2 and { 0, 1 } or { 2, 3 }) and mesh.dp == mine)
local f = check.both("two groups", function(a)
  local b = peri.all_reduce(a * 2, { group = mesh.tp })
  return peri.all_reduce(b, "max", mesh.dp), a:all_gather(1, mesh.tp), (b + 1):all_reduce()
end, { x })
local least, most = unpack { 2 * 3, 2 * 7 }  -- the sums over tp, times 2
check.is(f(x), most, most, most)
assert(least < most and f:stats().p2p_allocs >= 0)
-- Groups that do not hold all ranks: only their members compile and run.
if mine == even then
  local g = peri.compile(function(a) return peri.all_reduce(a:exp(), { group = even }):log() end,
                         { group = even })
  g(x) g(x)
end
local trio = peri.group { 3, 0, 1 }  -- in this order: position 1 of a gather is rank 3's
if trio.index then check.is(peri.all_gather(peri.tensor { peri.rank }, { group = trio }), 3, 0, 1) end
peri.barrier()
peri.barrier(mesh.dp)
