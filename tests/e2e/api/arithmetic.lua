-- run: peri run -n 1 $FILE && peri run -n 3 $FILE
-- Operators, methods and functions, tensors and numbers, eagerly and compiled.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x, y = peri.randn({ 5, 7 }, { seed = 1 }), peri.randn({ 7, 3 }, { seed = 2 })
check.both("operators", function(a)
  return 2 - a, 2 / a, a % 0.3, a ^ 2, -a, 3 * a, a + a, a - 1, a * a / 2, a:maximum(0), peri.minimum(0.5, a)
end, { x })
check.both("choices", function(a)
  return peri.where(a:gt(0), a, 0), peri.where(a:gt(0), 1, a), a:clamp(-0.5, 0.5), a:lt(a * 2), a:isnan()
end, { x })
check.both("matrices", function(a, b) return a:mm(b), a:t(), a:linear(b:t()), a:t():contiguous():t() end,
           { x, y })
check.both("reductions", function(a)
  return a:sum(), a:mean(1), a:max { 1, 2 }, a:argmax(-1), a:softmax(), a:log_softmax(1), a:var(2, true),
    a:sum(-2, true)
end, { x })
check.both("dtypes", function(a)
  return a:to "bf16" * 2, a:to "f16":exp(), a:to "i32" + 3, a:to "i64":sum(), a:to "bool",
    a:to "u8":floor_div(2)
end, { x * 10 })
check.both("not a number", function(a) return a:log(), a:sqrt():max(), (a / 0):to "i32", a / 0 end, { x })
check.both("no operation", function(a) return a end, { x })
check.both("nothing but numbers", function() return peri.ones { 2 } + 1, peri.arange(4), peri.randn({ 3 },
  { seed = 5 }) end, {})
check.is(peri.tensor { 7, -7 } % 3, 1, 2)
check.is(peri.tensor({ 7, -7 }, { dtype = "i32" }):floor_div(2), 3, -4)
check.is(2 - peri.tensor { 1, 2 }, 1, 0)
check.is(peri.tensor { { 1, 2 }, { 3, 4 } }:mm(peri.tensor { { 1, 1 }, { 0, 2 } }), 1, 5, 3, 11)
assert(peri.tensor(3.5):item() == 3.5 and peri.tensor { true }:item() == true)
