-- run: peri run $FILE
-- A trace ends with its function, whatever happens in it: what follows is computed, not traced.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")

local function computes() check.is(peri.ones { 2 } + 1, 2, 2) end
local raises = setmetatable({}, { __tostring = function() error "within __tostring" end })
for _, cause in ipairs {
  function() error "plain" end,
  function() error(raises) end,  -- whoever asks for its text raises anew
  function(x) return x + peri.ones { 3 } end,
  function() return print end,
  function(x) return setmetatable({ x }, { __index = error }), coroutine.create(print) end,
} do
  local f = peri.compile(cause)
  for _ = 1, 2 do
    assert(not pcall(f, peri.ones { 2 }))
    computes()
  end
end

local inner = peri.compile(function() error(raises) end)
local outer = peri.compile(function(x)
  local ok = pcall(inner, x)  -- traced into this one, which goes on
  return ok and x or x * 5
end)
check.is(outer(peri.ones { 2 }), 5, 5)
computes()

-- However often it happened, functions may be nested as deep as before.
for _ = 1, 300 do pcall(inner, peri.ones { 1 }) end
local f = peri.compile(function(x) return x end)
for _ = 1, 50 do
  local g = f
  f = peri.compile(function(x) return g(x) + 1 end)
end
check.is(f(peri.ones { 1 }), 51)
