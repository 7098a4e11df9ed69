-- run: peri run -n 2 $FILE; PERI_CHECK=1 peri run $FILE alone
-- stderr: *the captured variable 'calls' changes*
-- A function that checks each call stops where it no longer does what was compiled, and names the line.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local options = not arg[1] and { check = true } or nil  -- alone: told by the environment
local x = peri.tensor { 1, 2 }
local model = { n = 2, w = peri.ones { 2 }, layers = { peri.ones { 2 } }, list = { 1 },
                acc = peri.zeros { 2 } }
-- Fields under keys that the functions do not name, so that these are not compared.
local n_key, w_key, layers_key, list_key, acc_key = "n", "w", "layers", "list", "acc"
local function fails(wanted, f, change, undo)
  local g = peri.compile(f, options)
  local before = g(x):totable()
  g(x)
  change()
  check.raises("*: the function at *checked.lua:* does not do what was compiled; " .. wanted, g, x)
  undo()
  check.is(g(x), unpack(before))
end
fails([[the first difference is line 2
   compiled : %1 = full(shape=[], value=2, dtype=f32) : f32[]  @ checked.lua:26
   now      : %1 = full(shape=[], value=3, dtype=f32) : f32[]  @ checked.lua:26
   hint: what it reads beside its arguments and what it captures must stay as it was *]],
      function(t)
  local y = t * model[n_key]
  return y
end,
      function() model.n = 3 end, function() model.n = 2 end)
local w = model.w
fails("const1 is another tensor, used at checked.lua:33\n   compiled : f32[2]   made at checked.lua:8\n*",
      function(t)
  local y = t * model[w_key]
  return y
end,
      function() model.w = peri.ones { 2 } end, function() model.w = w end)
fails("the first difference is line 4\n   compiled : *\n   now      : *", function(t)
  for _, l in ipairs(model[layers_key]) do t = t * l end
  return t
end, function() model.layers[2] = model.w end, function() model.layers[2] = nil end)
fails("its results differ\n*", function(t) return t, model[list_key][1] end, function() model.list[1] = 5 end,
      function() model.list[1] = 1 end)
local acc = model.acc
fails("it changes another captured tensor in place\n*", function(t) model[acc_key]:add_(0) return t end,
      function() model.acc = model.acc * 1 end, function() model.acc = acc end)

-- Variables may change as ever, and what the function sets is set once a call.
local n, calls, state = 1, 0, x * 0
local f = peri.compile(function(t)
  calls = calls + 1
  state = state + t
  return t * n
end, options)
for i = 1, 3 do
  n = i
  check.is(f(x * 1), i, 2 * i) check.is(state, i, 2 * i)
  assert(calls == i)
end
check.is(f(peri.tensor { 1, 2 }), 3, 6)
check.raises("*: compile: check must be true or false, not the number 1", peri.compile, print, { check = 1 })
