-- run: peri run -n 2 --backend host $FILE
-- NCCL on the host backend: refused where the script names it, passed over with a reason where the policy does.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x = peri.ones { 4 } * (peri.rank + 1)
local refused = "nccl.lua:*: NCCL is for GPUs, and the host backend has none*hint: leave the algorithm to *"
check.raises(refused, function() return x:all_reduce { algorithm = "nccl" } end)
check.raises(refused, function() return peri.symm.nccl_all_gather(x) end)
check.raises(refused, function() return peri.symm.nccl_broadcast_(x, 0) end)
check.raises(refused, peri.compile(function(a) return a:all_reduce { algorithm = "nccl" } end), x)
local f = peri.compile(function(a) return a:all_reduce() end, { policy = { all_reduce = "nccl" } })
check.is(f(x), 3, 3, 3, 3)
assert(f:explain():find("ll: nccl is for GPUs", 1, true), f:explain())
