-- run: peri run -n 2 $FILE
-- Tables through a compiled function, as arguments and results: any plain key, holes, metatables, tables that stand
-- in several places; and what the function changes in them.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x, y = peri.tensor { 1, 2 }, peri.tensor { 10, 20 }
local function plans(f) return tonumber(tostring(f):match "%((%d+) plan") end
local function count(t) local n = 0 for _ in pairs(t) do n = n + 1 end return n end

-- Keys and holes, there and back.
local keys = { 0, -1, 1.5, 2 ^ 40, true, false, "a\0b", "a", "", 3 }
local function copied(t)
  return { t = t, copy = { [0] = t[0], [true] = t[true], ["\0"] = 7, t[3], nil, 5 } }
end
local same = peri.compile(copied)
for round = 1, 3 do
  local t = {}
  for i, key in ipairs(keys) do t[key] = i % 2 == 0 and i * round or peri.tensor { i * round } end
  local r = same(t)
  assert(r.t == t and count(t) == #keys)
  check.is(r.copy[0], round) check.is(r.copy[true], 5 * round)
  assert(r.copy["\0"] == 7 and r.copy[1] == 10 * round and r.copy[2] == nil and r.copy[3] == 5)
  assert(#r.copy == #copied(t).copy and count(r.copy) == 5)
end
local picks = peri.compile(function(t, key) return t[key] * 2 end)
for i, key in ipairs(keys) do
  local t = { x * 5, [key] = x * i }
  check.is(picks(t, key), 2 * i, 4 * i)
end
local holes = peri.compile(function(t) return #t, t[1], t[2], t[3] end)
for _ = 1, 2 do
  local n, first, second, third = holes { x, nil, y }
  assert(n == #{ x, nil, y } and second == nil)
  check.is(first, 1, 2) check.is(third, 10, 20)
  assert(holes { x, y } == 2 and holes { x } == 1 and holes {} == 0)
end
assert(plans(holes) == 4, tostring(holes))
check.raises("*: a table that a compiled function takes or returns has a key which is a tensor, not a " ..
             "number, a string or a boolean", same, { [x] = 1 })
check.raises("*has a key which is a function*", peri.compile(function() return { [print] = 1 } end))

-- Objects with methods.
local Layer = {}
Layer.__index = Layer
function Layer.new(w) return setmetatable({ w = w, calls = 0 }, Layer) end
function Layer:forward(t) self.calls = self.calls + 1 return t * self.w end
function Layer:double() return Layer.new(self.w * 2) end
local forward = peri.compile(function(layer, t) return layer:forward(t), layer:double() end)
local layer = Layer.new(y)
for i = 1, 3 do
  local r, doubled = forward(layer, x)
  check.is(r, 10, 40)
  assert(layer.calls == i and getmetatable(doubled) == Layer and doubled.calls == 0)
  check.is(doubled:double().w, 40, 80)
end
local methods = { forward = function() return x end, double = function() end }
local other = setmetatable({ w = y, calls = 0 }, { __index = methods })
check.raises("*", forward, setmetatable({ w = y, calls = 0 }, {}), x)
check.is((forward(other, x)), 1, 2)
check.is((forward(layer, x)), 10, 40)
check.raises("*a compiled function sets the metatable of a table among its arguments, which the calls *",
             peri.compile(function(t) setmetatable(t, Layer) end), { w = x })

-- What it changes in its arguments is seen outside, at each call.
local function state(n) return { n = n, x = x, deep = { list = { 1, 2 }, gone = true } } end
local changes = peri.compile(function(s, t)
  s.n = s.n + 1
  s.x = s.x + t
  s.new = { t * 2, s.deep, name = "new" }
  s.new.again = s.new
  s.new.again = nil
  s[-1], s[true] = t, "yes"
  table.insert(s.deep.list, t * 3)
  s.deep.gone = nil
  s.deep.self = s.deep.list
  s.deep.list = nil
  return s, s.new, s.new
end)
for i = 1, 4 do
  local s = state(5)
  local deep, list = s.deep, s.deep.list
  local r, new, again = changes(s, y * i)
  assert(r == s and s.n == 6 and new == s.new and again == new and new.name == "new" and count(new) == 3)
  assert(s[true] == "yes" and s.deep == deep and new[2] == deep and deep.self == list and count(deep) == 1)
  check.is(s.x, 1 + 10 * i, 2 + 20 * i) check.is(new[1], 20 * i, 40 * i) check.is(s[-1], 10 * i, 20 * i)
  check.is(list[3], 30 * i, 60 * i)
  assert(#list == 3 and list[2] == 2 and s.new.again == nil)
end
assert(plans(changes) == 1, tostring(changes))
local grown = state(1)
local grows = peri.compile(function(s) s.n, s.x = s.n + 1, s.x * 2 end)
for i = 1, 4 do
  local old = grown.x
  grows(grown)
  assert(grown.n == 1 + i)
  check.is(grown.x, 2 ^ i, 2 ^ (i + 1)) check.is(old, 2 ^ (i - 1), 2 ^ i)
end
check.raises("*: a compiled function sets .f of a table among its arguments: *, not a function\n   hint: *",
             peri.compile(function(s) s.f = print end), {})
local failing = { n = 1 }
assert(not pcall(peri.compile(function(s) s.n = x error "no" end), failing) and failing.n == 1)

-- One table in several places, and compiled functions within compiled functions.
local twice = peri.compile(function(a, b) a.n = a.n + 1 return b.n, a == b end)
for _ = 1, 2 do
  local one, two = { n = 1 }, { n = 1 }
  local n, is_same = twice(one, two)
  assert(n == 1 and not is_same and one.n == 2 and two.n == 1)
  n, is_same = twice(two, two)
  assert(n == 2 and is_same and two.n == 2)
  n, is_same = twice({ n = 1 }, { n = 1 })
  assert(n == 1 and not is_same)
end
local inner = peri.compile(function(s, t) s.sum = s.sum + t s.n = s.n + 1 return s end)
local outer = peri.compile(function(s, t)
  local r = inner(inner(s, t), t)
  return r == s, r.sum * 1
end)
for i = 1, 3 do
  local s = { sum = x, n = i }
  local is_same, sum = outer(s, y)
  assert(is_same and s.n == i + 2)
  check.is(sum, 21, 42) check.is(s.sum, 21, 42)
end
check.raises("*takes and returns tensors, plain values and tables of them, not a function",
             peri.compile(function(t) inner({ sum = t, n = 1, f = print }, t) end), x)
