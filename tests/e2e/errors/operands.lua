-- run: peri run -n 2 $FILE
-- What is wrong with operands: each message names the op, the operands with types and the lines that made them, and a hint.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local raises = check.raises
local a = peri.ones { 4, 5 }
local b = peri.ones { 6, 7 }
raises([[operands.lua:10: matmul: inner dimensions differ: 5 (dim 2 of a) and 6 (dim 1 of b)
   a : f32[4,5]   made at operands.lua:6
   b : f32[6,7]   made at operands.lua:7]], function() return a:mm(b) end)
raises([[operands.lua:14: add: shapes do not broadcast: 4 (dim 1 of a) and 6 (dim 1 of b)
   a : f32[4,5]   made at operands.lua:6
   b : f32[6,7]   made at operands.lua:7
   hint: aligned at their last dimensions, sizes must be equal or 1]], function() return a + b end)
raises([[operands.lua:18: mul: dtypes differ: f32 (a) and bf16 (b)
   a : f32[4,5]   made at operands.lua:6
   b : bf16[4,5]   made at operands.lua:18
   hint: cast one of them: b:to("f32")]], function() return a * a:to "bf16" end)
raises([[operands.lua:21: sum: dim 3 is out of range: there are 2 dimensions
   a : f32[4,5]   made at operands.lua:6
   hint: dimensions count from 1, or from -1 at the last]], function() return a:sum(3) end)
raises([[*: slice: positions 1 to 7 are not within the 4 of dim 1
   a : f32[4,5]   made at operands.lua:6
   hint: positions count from 1, or from -1 at the last, and the last one is included]], a.slice, a, 1, 1, 7)
raises("*: sum: dims is 0, but dimensions and positions are 1-based", a.sum, a, 0)
raises("*: no position 5 in f32[4,5] (positions are 1-based)", function() return (a[5]) end)
raises("*: reshape: shape [3,3] has 9 elements, and a has 20*", a.reshape, a, 3, 3)
raises("*: item: needs one element, this is f32[4,5]", a.item, a)
raises("*: add: operand 2 is missing", a.add, a)
raises("*: add: operand 2 must be a tensor or a number, not the string 'x'", a.add, a, "x")
raises("*: add: 2 arguments too many, from the number 2 on", a.add, a, 1, 2, 3)
raises("*: cat: item 2 must be a tensor, not the number 3", peri.cat, { a, 3 }, 1)
raises("*: cat: takes a table of tensors, not a tensor", peri.cat, a, 1)
raises("*: div: *floats*i32*", function() return (a:to "i32" / 2) end)
raises("*: add: a is in host memory, and *device*copy it first*", function() return (a:to "host" + a) end)
raises("*: tensor: the nested tables differ in length or depth (dim 2 should have 2)",
       peri.tensor, { { 1, 2 }, { 3 } })
raises("*: tensor: u8 cannot hold the element 300", peri.tensor, { 300 }, { dtype = "u8" })
raises("*: tensor: i32 cannot hold the element *nan", peri.tensor, { 0 / 0 }, { dtype = "i32" })
raises("*: tensor: i64 cannot hold the element 2.5", peri.tensor, { 2.5 }, { dtype = "i64" })
raises("*: tensor: an element must be a number, not the string 'x'", peri.tensor, { "x" })
raises("*: dim 1 of shape [-1] is negative", peri.ones, { -1 })
raises("*: ones: shape must be a whole number, not 2.5", peri.ones, { 2.5 })
raises("*: ones: shape is 1e+18, more than whole numbers in Lua go (2^53)", peri.ones, { 1e18 })
raises("*: ones: shape must be a table of whole numbers, not the number 3", peri.ones, 3)
raises("*: a tensor's elements can't be assigned with x[i] = y\n   hint: *", function() a[1] = 2 end)
raises("*: all_reduce: takes numbers (not bool), and a is bool*", peri.all_reduce, a:gt(0))
raises("*: broadcast: root 5 is not in group {0,1}*", peri.broadcast, a, 5)
raises("*: send f32[4,5] to rank " .. peri.rank .. " over {0,1}: *", peri.send, a, peri.rank)
raises("*: reduce_scatter: *5*2*", peri.reduce_scatter, a, "sum", 2)
