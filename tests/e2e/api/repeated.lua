-- run: peri run -n 2 $FILE
-- What a function says twice is computed once, and means what it means eagerly, also with changes in between.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x, w = peri.randn({ 4, 8 }, { seed = 1 + peri.rank }), peri.randn({ 8, 8 }, { seed = 9 })

local f = peri.compile(function(a)
  return a:mm(w):relu(), a:mm(w):relu():sum(1), a:mm(w) + 1
end)
check.both("repeated", function(a) return a:mm(w):relu(), a:mm(w):relu():sum(1), a:mm(w) + 1 end, { x })
f(x)
assert(f:explain():find("matmul at repeated.lua:8  computed once: 3 x in the program", 1, true), f:explain())

check.both("changed in between", function(a)
  a = a * 1
  local before = a:mm(w)
  a:add_(1)
  local after = a:mm(w)
  local p, q = peri.zeros { 4, 8 }, peri.zeros { 4, 8 }
  p:slice(1, 1, 2):add_(a:slice(1, 1, 2))
  q:mul_(3)
  local r, s = a * 2, a * 2
  r:add_(1)
  return before, after, p, q, r, s
end, { x })

-- Each collective takes place: a peer may wait for it.
local sums = peri.compile(function(a) return a:all_reduce(), a:all_reduce() end)
local one, two = sums(x)
assert((one - two):abs():sum():item() == 0)
local _, count = sums:plan():gsub("all_reduce%(", "")
assert(count == 2, sums:plan())
