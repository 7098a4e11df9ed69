-- run: peri run $FILE
-- A plain number takes the dtype of the tensor beside it, and one that it cannot hold is refused: eager and compiled.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local i, u, s = peri.arange(4), peri.arange(4):to "u8", peri.arange(4):to "i32"
local flags = i:gt(1)
local function refused(dtype, number, f)
  local wanted = "*: " .. dtype .. " cannot hold " .. number
    .. ", and a plain number takes the tensor's dtype*"
    .. "hint: cast the tensor: x:to(\"f32\")*"
  check.raises(wanted, f)
  check.raises(wanted, peri.compile(function() return f() end))
end
refused("i64", "0.5", function() return i * 0.5 end)
refused("i64", "0.5", function() return 0.5 + i end)
refused("i64", "1.5", function() return i:eq(1.5) end)
refused("i64", "2.5", function() return i:lt(2.5) end)
refused("u8", "256", function() return u + 256 end)
refused("u8", "-1", function() return u:maximum(-1) end)
refused("i32", "2147483648", function() return s + 2 ^ 31 end)
refused("i64", "*nan", function() return i + 0 / 0 end)
refused("i64", "inf", function() return i:minimum(math.huge) end)
refused("i64", "0.25", function() return peri.where(flags, i, 0.25) end)
refused("i64", "0.5", function() return i:clamp(0.5, 2) end)
refused("bool", "2", function() return flags:eq(2) end)

check.is(i * 2 - 1, -1, 1, 3, 5)
check.is(u:eq(2), 0, 0, 1, 0)
check.is((s + (2 ^ 31 - 4)):eq(2 ^ 31 - 1), 0, 0, 0, 1)
check.is(i:to "f32" * 0.5, 0, 0.5, 1, 1.5)
check.is(flags:eq(1), 0, 0, 1, 1)
check.is(peri.where(flags, u, 255), 255, 255, 2, 3)

check.raises("*: arange: step is 0.5, and makes no i64*hint: give dtype = \"f32\"*", peri.arange, 4, 0, 0.5)
check.raises("*: arange: i64 cannot hold 0.5*", peri.arange, 4, 0.5)
check.raises("*: arange: u8 cannot hold 300*", peri.arange, 4, 0, 100, "u8")
check.raises("*: full: u8 cannot hold -1*", peri.full, { 2 }, -1, { dtype = "u8" })
check.raises("*: full: i32 cannot hold 0.5*", peri.full, { 2 }, 0.5, { dtype = "i32" })
check.is(peri.arange(3, 4, -2, "u8"), 4, 2, 0)
check.is(peri.full({ 2 }, 1, { dtype = "bool" }), 1, 1)
