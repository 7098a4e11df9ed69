-- run: peri run -n 2 $FILE
-- Running totals, reductions to a bool, norms, what is cut, repeated, surrounded and marked: eager and
-- compiled.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x = peri.tensor { { 1, 2, 3 }, { 4, 5, 6 } }
local e = peri.zeros { 0, 3 }
check.is(x:cumsum(1), 1, 2, 3, 5, 7, 9)
check.is(x:to "i32":cumprod(-1), 1, 2, 6, 4, 20, 120)
assert(x:to "i32":cumsum(2):dtype() == "i64" and e:cumsum(1):numel() == 0)
check.is(x:gt(4):any(2), 0, 1)
check.is(x:gt(0):all(), 1)
check.is(e:all(1), 1, 1, 1)
check.is(e:any(1, true), 0, 0, 0)
assert(x:any():dtype() == "bool" and x:all { dims = { 1 }, keepdim = true }:dim() == 2)
local n = peri.tensor { { 3, -4 }, { 1, 2 } }
check.is(n:norm(2, 2):slice(1, 1, 1), 5)
check.is(n:norm(1, { 2 }), 7, 3)
check.is(n:norm(math.huge, 1), 3, 4)
-- In f16 the squares overflow.
check.is((n * 100):to "f16":norm { dims = { 2 }, keepdim = true }:slice(1, 1, 1), 500)

local a, b = unpack(x:split({ 2, 1 }, 2))
check.is(a, 1, 2, 4, 5)
check.is(b, 3, 6)
assert(#x:split(2, -1) == 2 and #x:split(3, 2) == 1 and #e:split(4) == 0 and #x:split({ 0, 2 }, 1) == 2)
a:mul_(10)  -- parts are views
check.is(x, 10, 20, 3, 40, 50, 6)
check.is(peri.arange(3):tile(2), 0, 1, 2, 0, 1, 2)
check.is(peri.tensor({ { 0, 1 }, { 2, 3 } }):tile(2, 1, 2), 0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3)
local copy = x:tile(1)
copy:add_(1)
check.is(x, 10, 20, 3, 40, 50, 6)
check.is(x:masked_fill(x:lt(10), -1), 10, 20, -1, 40, 50, -1)
x:masked_fill_(x:slice(1, 1, 1):lt(10), 0)
check.is(x, 10, 20, 0, 40, 50, 0)
check.is(peri.tensor({ 2, 0, 5 }, { dtype = "i32" }):one_hot(3), 0, 0, 1, 1, 0, 0, 0, 0, 0)
assert(peri.one_hot(peri.arange(2), 2, "bf16"):dtype() == "bf16")
check.is(peri.tensor({ { 0, 1 }, { 2, 3 } }):pad({ 1, 0, 0, 2 }, 9), 9, 0, 1, 9, 2, 3, 9, 9, 9, 9, 9, 9)

-- Windows are views: what is written is seen in all of them; they themselves are not written.
local line = peri.arange(6):to "f32"
local windows = line:unfold(1, 3, 2)
check.is(windows, 0, 1, 2, 2, 3, 4)
line:mul_(2)
check.is(windows, 0, 2, 4, 4, 6, 8)
check.raises("*an expanded or unfolded tensor has one element in several places*", windows.add_, windows, 1)
check.is(line:unfold(1, 2, 3):add_(1), 1, 3, 7, 9)  -- these do not overlap
check.is(line, 1, 3, 4, 7, 9, 10)

-- Vectors in products.
local v, m = peri.tensor { 1, 2, 3 }, peri.tensor { { 1, 4 }, { 2, 5 }, { 3, 6 } }
check.is(v:matmul(v), 14)
check.is(v:mm(m), 14, 32)
check.is(m:t():matmul(v), 14, 32)
assert(v:matmul(v):dim() == 0 and v:mm(peri.ones { 2, 3, 1 }):size(1) == 2)

check.both("all of them", function(t, u, mask)
  return t:cumsum(2), t:cumprod(1), t:any(1), mask:all(-1, true),
         t:norm(2, 1), t:norm(1), t:norm(math.huge, 2), t:tile(2, 3), t:pad { 1, 1 },
         t:unfold(2, 2) * 2, t:masked_fill(mask, 5),
         mask:to "i64":one_hot(2, "f32"), t:matmul(u), u:matmul(u), t:gelu_tanh(), t:softplus(),
         t:abs():log1p(), t:expm1(), peri.all_reduce(t:cumsum(1), "sum")
end, { peri.randn({ 4, 5 }, { seed = 3 }), peri.randn({ 5 }, { seed = 4 }),
       peri.rand({ 4, 5 }, { seed = 5 }):gt(0.5) })

local function raises(wanted, f) check.raises("*tensor_ops.lua:*: " .. wanted, f) end
raises("norm: p is 3; it may be 1, 2 or math.huge*", function() local _ = n:norm(3) end)
raises("split: the sizes sum to 4, and dim 2 has 3*", function() x:split({ 2, 2 }, 2) end)
raises("split: dim 3 is out of range*", function() x:split(1, 3) end)
raises("masked_fill: the mask b must be bool, not f32*", function() x:masked_fill(x, 0) end)
raises("unfold: windows of 4 do not fit into the 3 of dim 2*", function() x:unfold(2, 4) end)
raises("matmul: b has no dimension; a vector or a matrix is needed*",
       function() v:matmul(peri.full({}, 1)) end)
