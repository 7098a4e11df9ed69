-- run: peri run -n 2 $FILE
-- conv1d and conv2d, eager and compiled; the numbers are PyTorch's.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x = peri.arange(12, { start = 1 }):to "f32":reshape(1, 2, 6)
local w = peri.tensor { { { 1, 0, -1 }, { 2, 1, 0 } }, { { 0, 1, 0 }, { 1, 1, 1 } } }
local b = peri.tensor { 10, 20 }
check.is(x:conv1d(w, b), 30, 33, 36, 39, 46, 50, 54, 58)
check.is(x:conv1d(w, b, { stride = 2, padding = 1 }), 15, 33, 39, 36, 50, 58)
check.is(x:conv1d(w, b, 2, 1), 15, 33, 39, 36, 50, 58)
check.is(x:conv1d(w, nil, { dilation = { 2 } }), 19, 22, 30, 34)
check.is(peri.conv1d(x, peri.tensor { { { 1, 0, -1 } }, { { 2, 1, 0 } } }, { groups = 2 }),
         -2, -2, -2, -2, 22, 25, 28, 31)
local image, kernel = peri.arange(16):to "f32":reshape(1, 1, 4, 4), peri.tensor { { { { 1, 2 }, { 3, 4 } } } }
check.is(image:conv2d(kernel), 34, 44, 54, 74, 84, 94, 114, 124, 134)
check.is(image:conv2d(kernel, { stride = { 2, 1 }, padding = { 0, 1 } }),
         16, 34, 44, 54, 24, 64, 114, 124, 134, 56)
check.is(image:conv2d(kernel, { dilation = 2 }), 68, 78, 108, 118)
assert(peri.zeros { 0, 1, 4, 4 }:conv2d(kernel):numel() == 0)
check.both("conv1d", function(t) return t:conv1d(w, b, { padding = 1 }):relu() end, { x })
check.both("conv2d", function(t)
  local y = t:conv2d(kernel, nil, 1, 1, 2)
  return y, peri.all_reduce(y:mean { 3, 4 }, "sum")
end, { image * (peri.rank + 1) })
local deep = peri.randn({ 3, 4, 9, 7 }, { seed = 1 }):to "bf16"
local f = function(t, k, c) return t:conv2d(k, c, { stride = { 2, 3 }, padding = { 1, 2 }, groups = 2 }) end
check.both("groups", f, { deep, peri.randn({ 6, 2, 3, 2 }, { seed = 2 }):to "bf16",
                          peri.ones({ 6 }, { dtype = "bf16" }) })
check.raises("*convolutions.lua:*: conv1d: dim 2 of b is 2, expected 1: the 2 channels*over 2 groups*",
             function() x:conv1d(w, { groups = 2 }) end)
check.raises("*conv2d: the kernel covers 5 positions, and dim 3 of a has 4*",
             function() image:conv2d(kernel, { dilation = 4 }) end)
check.raises("*conv1d: stride is 0; it must be at least 1*", function() x:conv1d(w, b, 0) end)
