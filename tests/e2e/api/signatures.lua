-- run: peri run $FILE
-- A compiled function is traced once for each structure of its arguments, their plain values and their tensors' types;
-- calls that come again, in whatever order, give what is written.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")

local traces = io.tmpfile()  -- a byte each: what a file holds is no value that a function captures
local function traced() return traces:seek "end" end
local f = peri.compile(function(a, b)
  traces:write "."
  local sum, names = peri.zeros { 1 }, 0
  for _, t in ipairs(a) do sum = sum + t:sum() end
  for _ in pairs(a) do names = names + 1 end
  if a.x then sum = sum + a.x:sum() * 10 end
  if a.deep then sum = sum + a.deep[1].y:sum() * 100 end
  return sum + names * 1000 + (b == "two" and 20000 or b == true and 30000 or b or 0)
end)
local one, two = peri.ones { 1 }, peri.ones { 2 }
local cases = {  -- arguments, what they give
  { { one, two }, nil, 2003 }, { { two, one }, nil, 2003 }, { { one }, nil, 1001 }, { {}, nil, 0 },
  { { one, x = two }, nil, 2021 }, { { one, z = two }, nil, 2001 }, { { x = one }, nil, 1010 },
  { { deep = { { y = two } } }, nil, 1200 }, { { deep = { { y = two, n = 5 } } }, nil, 1200 },
  { { deep = { { y = two, n = 6 } } }, nil, 1200 }, { { one }, 5, 1006 }, { { one }, 6, 1007 },
  { { one }, "two", 21001 }, { { one }, true, 31001 }, { { one }, "t\0wo", nil }, { { one }, "t\0w", nil },
}
for round = 1, 3 do
  for i = 1, #cases do
    local a, b, want = unpack(cases[round == 2 and #cases + 1 - i or i], 1, 3)
    if want then
      check.is(f(a, b), want)
      check.is(f(a, b), want)
    else
      assert(not pcall(f, a, b))  -- text is no number
    end
  end
end
assert(traced() == 14 + 2 * 3, traced())  -- those that fail are traced each time
check.is(f({ one * 2 }, nil), 1002)  -- another tensor of the same type
check.is(f({ peri.tensor { 3 } }, nil), 1003)
assert(traced() == 20, traced())
check.is(f({ two }, nil), 1002)  -- of another shape
assert(traced() == 21, traced())
