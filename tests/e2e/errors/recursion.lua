-- run: peri run -n 2 $FILE
-- within: 10
-- Recursion through C functions, and a policy that calls the function it decides for, end with errors.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local function through_gsub() return (("x"):gsub("x", function() return through_gsub() end)) end
check.raises("*stack overflow*", through_gsub)
local function through_sort() table.sort({ 2, 1 }, function() return through_sort() end) end
check.raises("*stack overflow*", through_sort)
local text = setmetatable({}, {})
getmetatable(text).__tostring = function(x) return tostring(x) end
check.raises("*stack overflow*", tostring, text)
local f
local policy = { all_reduce = function() f(peri.ones { 2 }) return "ll" end }
f = peri.compile(function(x) return peri.all_reduce(x) end, { policy = policy })
local called = "*recursion.lua:*: policy.all_reduce: recursion.lua:* is called while it is compiled*"
for _ = 1, 2 do check.raises(called, f, peri.ones { 2 }) end
