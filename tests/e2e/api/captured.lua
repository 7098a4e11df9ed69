-- run: peri run -n 2 $FILE
-- stderr: [0-1] captured.lua:*: note: the function at captured.lua:* is compiled at every call, because the captured variable 'calls' changes
-- stderr: [0-1]    hint: pass it as a tensor, or capture a tensor that is changed in place
-- What a function captures may change between calls, by its own doing too: compiled is as written.
-- luacheck: globals factor act_global
local peri = require "peri"
factor = 20
function act_global(t) return t end
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local x = peri.tensor { 1, 2 }
local function plans(f) return tonumber(tostring(f):match "%((%d+) plan") end

-- Plain values, also those of functions that it calls, and the functions themselves.
local n, word, flag, scale = 2, "a", nil, 10
local function scaled(t) return t * scale end
local act = scaled
local f = peri.compile(function(t)
  t = act(t) + n
  if word == "b" then t = t * -1 end
  if flag then t = t + 1000 end
  return t
end)
check.is(f(x), 12, 22) check.is(f(x), 12, 22)
n = 3 check.is(f(x), 13, 23)
word = "b" check.is(f(x), -13, -23)
scale = 20 check.is(f(x), -23, -43)
act = function(t) return t end check.is(f(x), -4, -5)
flag = true check.is(f(x), 996, 995)
flag = false check.is(f(x), -4, -5)
n = 0 check.is(f(x), -1, -2)
n = -0.0 check.is(peri.compile(function(t) return t * 0 + 1 / n end)(x), -math.huge, -math.huge)

-- Values that come again are not compiled again; not all are kept for ever.
local train = true
local g = peri.compile(function(t) return train and t * 2 or t end)
for _ = 1, 20 do
  train = true check.is(g(x), 2, 4)
  train = false check.is(g(x), 1, 2)
end
assert(plans(g) == 2, tostring(g))
for i = 1, 40 do
  train = "value " .. i
  check.is(g(x), 2, 4) check.is(g(x), 2, 4)
end
assert(plans(g) == 8, tostring(g))

-- Another tensor in the same variable: the second one makes it an input, and no more is compiled.
local w, other = peri.ones { 2 }, peri.ones { 2 }
local function reads_w(t) return t + w end
local h = peri.compile(function(t) return reads_w(t) * other end)
for i = 1, 10 do
  w = peri.tensor { i, i }
  check.is(h(x), 1 + i, 2 + i)
end
assert(plans(h) == 2, tostring(h))
w = peri.tensor(5) check.is(h(x), 6, 7)  -- of another shape
w = 7 check.is(h(x), 8, 9)
w = peri.tensor { 1, 1 } check.is(h(x), 2, 3)
other = w check.is(h(x), 2, 3)  -- twice the same
w:add_(1) check.is(h(x), 6, 8)

-- What it sets is set by every call.
local calls = 0
local counter = peri.compile(function(t) calls = calls + 1 return t * calls end)
for i = 1, 5 do check.is(counter(x), i, 2 * i) assert(calls == i) end
local called, kept
local marks = peri.compile(function(t) called = true kept = t * 2 return t end)
for _ = 1, 4 do
  called, kept = false, nil
  marks(x)
  assert(called) check.is(kept, 2, 4)
end
assert(plans(marks) <= 3, tostring(marks))
local state = peri.zeros { 2 }
local step = peri.compile(function(t)
  state = state * 0.5 + t
  return state:all_reduce()
end)
local wanted = 0
for _ = 1, 6 do
  wanted = wanted * 0.5 + 1
  check.is(step(x), 2 * wanted, 4 * wanted) check.is(state, wanted, 2 * wanted)
end
assert(plans(step) == 2, tostring(step))
local a, b = peri.tensor { 1 }, peri.tensor { 2 }
local swap = peri.compile(function() a, b = b, a return a - b end)
for i = 1, 6 do check.is(swap(), i % 2 == 1 and 1 or -1) check.is(a, i % 2 == 1 and 2 or 1) end
check.raises("*: a compiled function sets the captured variable 'kept' to a table, which the calls that " ..
             "replay it can't do\n   hint: return it, or set the variable outside",
             peri.compile(function(t) kept = { t } return kept end), x)
assert(not pcall(peri.compile(function(t) state = t error "no" end), x))
check.is(state, wanted, 2 * wanted)

-- A variable of two closures, compiled functions in variables, and functions that call themselves.
local shared = 1
local function get() return shared end
local function set(v) shared = v end
local inner = peri.compile(function(t) return t * get() end)
local outer = peri.compile(function(t) return inner(t) + shared end)
check.is(outer(x), 2, 3) set(5) check.is(outer(x), 10, 15) check.is(inner(x), 5, 10)
inner = peri.compile(function(t) return t end)
check.is(outer(x), 6, 7)
local depth
local function power(t, i) if i == 0 then return t end return power(t * depth, i - 1) end
local p = peri.compile(power)
depth = 2 check.is(p(x, 3), 8, 16) depth = 3 check.is(p(x, 3), 27, 54)
local again
again = peri.compile(function(t, i) return i == 0 and t * depth or again(t, i - 1) end)
check.is(again(x, 2), 3, 6) depth = 2 check.is(again(x, 2), 2, 4)

-- Fields of captured tables, and globals.
local model = { w = peri.ones { 2 }, n = 2, layers = { { b = peri.ones { 2 } }, { b = peri.ones { 2 } } } }
local net = peri.compile(function(t)
  t = t * model.w + model.n
  for _, l in ipairs(model.layers) do t = t + l.b end
  return model.bias and t + model.bias or t
end)
check.is(net(x), 5, 6) check.is(net(x), 5, 6)
model.n = 3 check.is(net(x), 6, 7)
model.layers[3] = { b = x } check.is(net(x), 7, 9)
model.layers[1].b = x * 100 check.is(net(x), 106, 208)
model.layers[3] = nil check.is(net(x), 105, 206)
model.bias = 1000 check.is(net(x), 1105, 1206)
model.unused = 1 net(x)
local adds = peri.compile(function(t) return t + model.w end)
for i = 1, 6 do
  model.w = x * i
  check.is(net(x), 1104 + i, 1204 + 4 * i) check.is(adds(x), 1 + i, 2 + 2 * i)
end
assert(plans(adds) == 2, tostring(adds))
local walks = peri.compile(function(t) for _, v in pairs(model.layers[1]) do t = t + v end return t end)
check.is(walks(x), 101, 202) model.layers[1].b = 1 check.is(walks(x), 2, 3)
local within = peri.compile(function(t)
  local function add(v) return (function() return v + model.deep.b end)() end
  return add(t)
end)
model.deep = { b = 1 } check.is(within(x), 2, 3) model.deep.b = 2 check.is(within(x), 3, 4)
local stats = { calls = 0, sum = peri.zeros { 2 } }
local counts = peri.compile(function(t) stats.sum = stats.sum + t stats.calls = stats.calls + 1 return t end)
for i = 1, 2 do
  counts(x)
  assert(stats.calls == i)
  check.is(stats.sum, i, 2 * i)
end
local Class = { scale = 2 }
Class.__index = Class
function Class:run(t) return t * self.scale * self.w end
local object = setmetatable({ w = x }, Class)
local method = peri.compile(function(t) return object:run(t) end)
check.is(method(x), 2, 8) Class.scale = 3 check.is(method(x), 3, 12)
object.w = x * 0 check.is(method(x), 0, 0)
function Class.run(_, t) return t end
check.is(method(x), 1, 2)
local global = peri.compile(function(t) return act_global(t) * factor end)
check.is(global(x), 20, 40) factor = 30 check.is(global(x), 30, 60)
function act_global(t) return -t end
check.is(global(x), -30, -60)

-- More variables than one Lua function can have.
local names, text = {}, {}
for i = 1, 150 do names[i] = "v" .. i end
for i = 1, 150, 50 do
  local some = table.concat(names, ", ", i, i + 49)
  text[#text + 1] = ("do local %s set%d = function(v) v%d = v end sum%d = function() local s = 0 " ..
                     "for _, v in pairs { %s } do s = s + v end return s end end"):format(some, i, i + 49, i,
                                                                                          some)
end
text = "local set1, set51, set101, sum1, sum51, sum101 " .. table.concat(text, " ") ..
       " return set1, set51, set101, function(t) return t * 0 + sum1() + sum51() + sum101() end"
local set1, set51, set101, all = assert(loadstring(text))()
local many = peri.compile(all)
check.is(many(x), 0, 0)
set1(1) check.is(many(x), 1, 1) set51(10) check.is(many(x), 11, 11) set101(100) check.is(many(x), 111, 111)
