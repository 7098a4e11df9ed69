-- run: peri run -n 1 $FILE && peri run -n 2 $FILE && peri run -n 4 $FILE
-- within: 15
-- The example's logits agree with PyTorch's to 1e-4, all at once and byte by byte through the caches.
-- luacheck: globals io.write io.stderr arg
local peri = require "peri"
local compile, step, caches = peri.compile, nil, nil
peri.compile = function(f)  -- the example's compiled function and its caches, from the outside
  local compiled = compile(f)
  return function(tokens, positions, these)
    step, caches = compiled, these
    return compiled(tokens, positions, these)
  end
end
local example = "../../../scripts/examples/generate.lua"
arg = { [0] = example, "x", "--bytes", "0" }
local write, err = io.write, io.stderr
io.write, io.stderr = function() end, { write = function() end }
dofile(example)
io.write, io.stderr = write, err

local known = peri.load "../../data/lua_logits.safetensors"
local tokens, logits = known:tensor "tokens", known:tensor "logits"
local count = tokens:size(1)
local function error_of(got, wanted) return (got - wanted):abs():max():item() end
local at_once = error_of(step(tokens, peri.arange(count):to "i32", caches), logits)
assert(at_once < 1e-4, at_once)
for i = 1, count do
  local one = step(tokens:slice(1, i, i), peri.tensor({ i - 1 }, { dtype = "i32" }), caches)
  assert(error_of(one, logits:slice(1, i, i)) < 1e-4, i)
end
assert(logits:abs():max():item() > 10)
