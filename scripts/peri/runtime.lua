-- What a printed plan (fn:code()) runs over: the primitives of bindings/lua/runtime.cpp, and rt.program.
local peri = require "peri"
local rt = require "peri.primitives"

-- "bf16[128,4096]" or "f32[3] on host": dtype, shape, place.
local function parse_type(text)
  local dtype, dims, rest = text:match "^(%w+)%[([%d,]*)%](.*)$"
  assert(dtype, "not a type: " .. text)
  local shape = {}
  for d in dims:gmatch "%d+" do shape[#shape + 1] = tonumber(d) end
  return dtype, shape, rest:match "on (%w+)" or "device"
end

-- A tensor of that type with contents that depend on the seed only.
local function example(text, seed)
  local dtype, shape, place = parse_type(text)
  local t
  if dtype == "f32" or dtype == "f16" or dtype == "bf16" then
    t = peri.randn(shape, { dtype = dtype, seed = seed })
  else
    t = peri.zeros(shape, { dtype = dtype })
  end
  return t:to(place)
end

-- rt.program{inputs = {types}, constants = {types}, run = function(arg, const) ... return {results} end}:
-- call it with a table of inputs and a table of constants. Run as a script, it makes examples of both and
-- prints the results.
function rt.program(program)
  local self = { inputs = program.inputs, constants = program.constants }
  function self.main()
    local inputs, constants = {}, {}
    for i, t in ipairs(program.inputs) do inputs[i] = example(t, i) end
    for i, t in ipairs(program.constants) do constants[i] = example(t, 1000 + i) end
    for i, result in ipairs(program.run(inputs, constants)) do
      if peri.rank == 0 then print("result " .. i); print(result) end
    end
  end
  local function call(_, inputs, constants) return program.run(inputs, constants) end
  return setmetatable(self, { __call = call })
end

return rt
