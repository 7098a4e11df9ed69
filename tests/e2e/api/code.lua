-- run: peri run -n 2 $FILE && peri run -n 3 $FILE && for l in out_variant fallback; do peri run -n 2 $FILE $l $TMP/plan.lua && peri run -n 2 $TMP/plan.lua | grep result; done
-- stdout: [0] result 1
-- stdout: [0] result 2
-- stdout: [0] result 1
-- stdout: [0] result 2
-- fn:code() is a Lua program over the runtime's primitives that gives the executable's results bit for bit, and runs alone.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
if arg[2] then
  local f = peri.compile(function(x) return x:mm(x):all_reduce(), x:sum() end,
                         { policy = { lowering = arg[1] } })
  f(peri.ones { 3, 3 })
  if peri.rank == 0 then io.open(arg[2], "w"):write(f:code()) end
  return
end
local w = peri.randn({ 6, 6 * peri.world_size }, { seed = 4 }):shard(2):contiguous()
local function model(x, at)
  local h = x
  for i = 1, 3 do h = (h + peri.all_reduce(h:mm(w):silu() * i, i == 2
    and "avg" or "sum")):rms_norm(peri.ones { 6 }) end
  return h:softmax(), h:t():slice(1, 2, 5, 2), h:all_gather(2), h:sum(1):to "bf16", h:argmax(-1), h:gt(0),
    1 / h,
         (h * 2):to "host":to "device" - 1, h:index_copy(1, at, peri.zeros { 1, 6 }),
         x:contiguous()
end
local x, at = peri.randn({ 5, 6 }, { seed = 7 }), peri.tensor({ 3 }, { dtype = "i32" })
for _, policy in ipairs { {}, { lowering = "fallback" }, { all_reduce = "one_shot", planning = "separate" },
                          { skip = { "fuse" } }, { epilogues = true },
                          { all_reduce = "two_shot", all_gather = "one_shot", lowering = "fallback" } } do
  local f = check.both("model", model, { x, at }, { policy = policy })
  local results, again = { f(x, at) }, load(f:code())()({ x, at }, { w })
  assert(#again == #results)
  for i = 1, #results do check.same(results[i], again[i], "result " .. i) end
end
