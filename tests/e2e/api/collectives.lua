-- run: peri run -n 2 $FILE && peri run -n 3 $FILE && peri run -n 4 $FILE
-- Every collective against values worked out by hand, eagerly and compiled, with odd sizes, on 2, 3 and 4 ranks.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local r, n = peri.rank, peri.world_size
local x = peri.arange(5):to "f32" + r * 10  -- r*10, r*10+1, ...
local ranks = n * (n - 1) / 2
for _, dtype in ipairs { "f32", "f16", "bf16", "i32", "i64" } do
  check.is(x:to(dtype):all_reduce(), 10 * ranks, 10 * ranks + n, 10 * ranks + 2 * n, 10 * ranks + 3 * n,
           10 * ranks + 4 * n)
end
check.is(x:all_reduce "max", 10 * n - 10, 10 * n - 9, 10 * n - 8, 10 * n - 7, 10 * n - 6)
check.is(x:all_reduce "min", 0, 1, 2, 3, 4)
check.is(peri.all_reduce(peri.ones { 3 } * 2, "prod"), 2 ^ n, 2 ^ n, 2 ^ n)
check.is(peri.broadcast(x, 1), 10, 11, 12, 13, 14)
for root = 0, n - 1 do  -- the others keep theirs
  local first, step = root == r and 10 * ranks or 10 * r, root == r and n or 1
  for _, algorithm in ipairs { "", "one_shot" } do
    check.is(peri.reduce(x, { root = root, algorithm = algorithm }), first, first + step, first + 2 * step,
             first + 3 * step, first + 4 * step)
  end
end
local changed = x * 1
changed:reduce_("max", n - 1)
local largest = 10 * (r == n - 1 and n - 1 or r)
check.is(changed:slice(1, 1, 2), largest, largest + 1)
if n > 2 and (r == 0 or r == 2) then  -- a part of the ranks, in another order
  check.is(peri.reduce(x:slice(1, 2, 2), { root = 0, group = { 2, 0 } }), r == 0 and 22 or 10 * r + 1)
end
local all = {}
for i = 1, 5 * n do all[i] = (i - 1) % 5 + math.floor((i - 1) / 5) * 10 end
check.is(x:all_gather(), unpack(all))
check.is(peri.reduce_scatter(peri.ones { n, 3 } * (r + 1)), ranks + n, ranks + n, ranks + n)
local mine, theirs = {}, {}
for i = 1, n do mine[i], theirs[i] = r * 10 + i - 1, (i - 1) * 10 + r end
check.is(peri.all_to_all(peri.tensor(mine)), unpack(theirs))
if r == 0 then peri.send(x, 1) elseif r == 1 then check.is(peri.recv(x, 0), 0, 1, 2, 3, 4) end
peri.barrier()
for _, policy in ipairs { {}, { all_reduce = "one_shot", all_gather = "one_shot", reduce_scatter = "one_shot",
                                all_to_all = "one_shot", broadcast = "one_shot",
                                reduce = "one_shot" },
                          { all_reduce = "two_shot", lowering = "fallback" },
                          { auto_select = false, planning = "separate" }, require "peri.policy.latency" } do
  local m = peri.randn({ n * 3, n * 5 }, { seed = 1 + r })
  check.both("collectives", function(a)
    local b = a * 2
    return b:all_reduce(), b:all_reduce "avg", b:all_gather(2), a:reduce_scatter("sum", 2), b:all_to_all(1,
      2),
           b:broadcast(n - 1), b:reduce("max", n - 1), a:reduce { root = 1 } * 2,
           a:all_reduce():mm(a:t()):all_reduce "max", a:slice(1, 1, 0):all_reduce(),
             a:shard(1)
  end, { m }, { policy = policy })
end
check.both("named", function(a)
  return peri.symm.one_shot_all_reduce(a), peri.symm.ll_all_reduce(a + 1), peri.symm.one_shot_all_gather(a),
         a:all_reduce { algorithm = "one_shot", reduce = "min" }
end, { x })
if peri.backend == "host" then  -- which emulates multicast; on GPUs it stays off
  check.both("multicast", peri.symm.multimem_one_shot_all_reduce, { x })
else
  check.raises("*NVLink multicast is not used by this backend*", peri.symm.multimem_one_shot_all_reduce, x)
end
