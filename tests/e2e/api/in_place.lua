-- run: peri run -n 2 $FILE
-- What ends in _ writes where its operand lies, eagerly and in arguments of a compiled function.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x = peri.zeros { 4 }
assert(x:add_(1) == x)
x:index_copy_(1, peri.tensor({ 0, 3 }, { dtype = "i32" }), peri.tensor { 5, 6 })
check.is(x, 5, 1, 1, 6)
x:slice(1, 2, 3):mul_(10)
check.is(x, 5, 10, 10, 6)
x[1]:copy_(peri.tensor(7))
check.is(x, 7, 10, 10, 6)

local f = peri.compile(function(a, b)
  a:add_(b)
  local first = a * 1
  a:mul_(2)
  return first, a:sum()
end)
local a, b = peri.tensor { 1, 2, 3 }, peri.tensor { 1, 1, 1 }
local first, sum = f(a, b)
check.is(first, 2, 3, 4) check.is(sum, 18) check.is(a, 4, 6, 8) check.is(b, 1, 1, 1)
first, sum = f(a, b)
check.is(first, 5, 7, 9) check.is(sum, 42) check.is(a, 10, 14, 18)

local s = peri.symm.empty { 6 }
assert(s:is_symmetric() and not a:is_symmetric())
s:add_(peri.rank + 1)
peri.symm.two_shot_all_reduce_(s)
check.is(s, 3, 3, 3, 3, 3, 3)
local g = peri.compile(function(t) peri.symm.two_shot_all_reduce_(t) return t * 2 end)
check.is(g(s), 12, 12, 12, 12, 12, 12) check.is(s, 6, 6, 6, 6, 6, 6)
local plain = peri.ones { 3 }
check.is(g(plain), 4, 4, 4) check.is(plain, 2, 2, 2)
local cache = peri.zeros { 3, 2 }
local write = peri.compile(function(c, at, row) c:index_copy_(1, at, row) return c:sum() end)
for i = 0, 2 do write(cache, peri.tensor({ i }, { dtype = "i32" }), peri.tensor { { i, i + 0.5 } }) end
check.is(cache, 0, 0.5, 1, 1.5, 2, 2.5)
