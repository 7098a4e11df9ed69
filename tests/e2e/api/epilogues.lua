-- run: peri run -n 2 $FILE && peri run -n 3 $FILE
-- fn: a policy may have what follows a collective done in its call: the same bits, in fewer calls.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local hidden, policy = 8, { epilogues = true }
local w = peri.randn({ hidden, hidden * peri.world_size }, { seed = 4 }):shard(2):contiguous()
local scale = peri.randn({ hidden }, { seed = 5 })
local function layers(x)
  local h, n = x, x
  for _ = 1, 3 do
    h = n:mm(w):all_reduce() + h
    n = h:rms_norm(scale, 1e-6)
  end
  return n, h
end

local x = peri.randn({ 5, hidden }, { seed = 6 })
for _, algorithm in ipairs { "ll", "one_shot", "two_shot" } do
  local f = check.both(algorithm, layers, { x },
                       { policy = { epilogues = true, all_reduce = algorithm } })
  assert(f:stats().epilogues == 3 and f:stats().kernels == 3, f:plan())  -- three products
  assert(f:explain():find("add and rms_norm as epilogue", 1, true), f:explain())
  local follows = "then {(f32, f32) r2 = add(r0, r1) : f32 -> r2} rms_norm {eps = 1e-06}"
  assert(f:plan():find(follows, 1, true), f:plan())
  local again, plain = load(f:code())()({ x }, { w, scale }), { layers(x) }
  for i = 1, 2 do check.same(plain[i], again[i], "the code's result " .. i) end
end

-- Outputs that are held stay as they are, and inputs may lie elsewhere.
local f, held = peri.compile(layers, { policy = policy }), {}
for i = 1, 6 do held[i] = { x = peri.randn({ 5, hidden }, { seed = 10 + i }) } end
for _, one in ipairs(held) do one.n, one.h = f(one.x) end
for i, one in ipairs(held) do
  local n, h = layers(one.x)
  check.same(n, one.n, "n " .. i)
  check.same(h, one.h, "h " .. i)
end
check.raises("epilogues.lua:*: policy.epilogues must be true or false, not the string 'yes'", function()
  peri.compile(layers, { policy = { epilogues = "yes" } })(x)
end)
