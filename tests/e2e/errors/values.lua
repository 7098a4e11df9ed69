-- run: peri run -n 2 $FILE
-- Errors as values: text by .. and by string's methods, fields, and what a script raises itself, as it was.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local ok, problem = pcall(peri.ones, "x")
local text = "values.lua:5: ones: shape must be a table of whole numbers, not the string 'x'"
assert(not ok and tostring(problem):gsub("^.*/", "") == text)
assert(("failed: " .. problem):find("failed: ", 1, true) == 1 and (problem .. "\n"):sub(-3) == "x'\n")
assert(problem:find "shape must" and problem:upper():find "ONES" and problem:match "(%d+): ones" == "5")
assert(problem.code == "InvalidArgument" and problem.rank == peri.rank and problem.nothing == nil)
assert(getmetatable(problem) == false and not pcall(setmetatable, problem, {}))

local function raised_by(value)
  local function raise() error(value, 0) end
  local outer = peri.compile(function(x) return peri.compile(raise)(x) end)
  return select(2, pcall(outer, peri.ones { 1 }))
end
local mine = { code = 5 }
assert(raised_by(mine) == mine and raised_by(mine).code == 5)
assert(raised_by "boom" == "boom" and raised_by(42) == 42 and raised_by(print) == print)
assert(raised_by(nil) == nil)
local rude = setmetatable({}, { __tostring = function() error "no" end })
assert(raised_by(rude) == rude)
assert(peri.compile(function(x) return x + 1 end)(peri.ones { 1 }):item() == 2)
check.raises("*values.lua:*", function() error("values.lua:1: text", 0) end)
