-- run: peri run -n 2 $FILE
-- What can't be done while a function is traced, or with its symbols afterwards.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x, kept = peri.ones { 2 }, {}
local function raises(wanted, f, ...) check.raises("*: " .. wanted, peri.compile(f), ...) end
raises("item: the values of a symbolic f32[] are not known while its function is traced\n   hint: return*",
       function(a) if a:sum():item() > 0 then return a end return -a end, x)
raises("totable: *", function(a) return a:totable() end, x)
local column = peri.ones { 2, 2 }:slice(2, 1, 1)
raises("add_: a captured tensor that is not contiguous can't be changed in place inside a compiled " ..
       "function\n   hint: capture the tensor that it is a view of, and take the view inside",
       function(a) column:add_(1) return a end, x)
raises("mul_: in place: an expanded or unfolded tensor has one element in several places\n   hint: *",
       function(a) a:unsqueeze(1):expand(2, 2):mul_(2) return a end, x)
raises("symm.empty: symmetric memory can't be allocated inside a compiled function\n   hint: *",
       function(a) local s = peri.symm.empty { 2 } return a + s end, x)
raises("boom", function() error "boom" end, x)
raises("a compiled function takes and returns tensors, plain values and tables of them, not a function",
       print, print)
raises("*not a function", function() return print end, x)
raises([[matmul: inner dimensions differ: 2 (dim 2 of a) and 3 (dim 1 of b)
   a : f32[1,2]   made at tracing.lua:25
   b = arg2 : f32[3,1]   made at tracing.lua:29]], function(a, b)
  local row = a:unsqueeze(1)
  local y = row:mm(b)
  return y
end,
       x, peri.ones { 3, 1 })
local f = peri.compile(function(a) kept[tostring(1)] = a * 2 return a end)
f(x)
check.raises([[tracing.lua:*: add: a symbolic tensor of a function that has been traced is used outside of it
   a : f32[2]   made at tracing.lua:30
   hint: return it from the compiled function instead of keeping it]], function() return (kept["1"] + 1) end)
check.raises("*: a symbolic tensor of a function that has been traced is passed to a compiled function",
             f, kept["1"])
check.raises("*: *another traced function*", peri.compile(function(a) return a + kept["1"] end), x)
check.raises("*: explain: the function has not been called yet, so nothing is compiled\n   hint: *",
             function() return (peri.compile(print):explain()) end)
local loop = {}
loop[1] = loop
check.raises("*nested more than * deep (does it contain itself?)", f, loop)
check.raises("*unknown tensor method 'explian'*", function() return (x.explian) end)
