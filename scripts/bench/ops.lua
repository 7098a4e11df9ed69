-- Peri's side of scripts/bench/ops: answers commands, one a line, its words between tabs.
--   case FILE NAMES EXPRESSION   loads the tensors `names` (a,b,...) of a safetensors file: "ready"
--   time CALLS                   microseconds of processor time of a call
--   save FILE                    leaves its result, the first if it has several: "saved"
local peri = require "peri"

local call, inputs
local commands = {}

function commands.case(file, names, expression)
  call, inputs = nil, {}
  collectgarbage()
  local source = "local peri = ...; return function(" .. names .. ") return " .. expression .. " end"
  call = assert(loadstring(source, "=" .. expression))(peri)
  if names ~= "" then
    local tensors = peri.load(file)
    for name in names:gmatch "[^,]+" do inputs[#inputs + 1] = tensors:tensor(name) end
  end
  call(unpack(inputs))
  return "ready"
end

function commands.time(calls)
  local a, b, c, d = unpack(inputs)
  local f, y = call, nil
  local start = os.clock()
  for _ = 1, tonumber(calls) do y = f(a, b, c, d) end
  local seconds = os.clock() - start
  return string.format("%.3f", seconds / tonumber(calls) * 1e6), y
end

function commands.save(file)
  peri.save(file, { x = (call(unpack(inputs))) })
  return "saved"
end

for line in io.lines() do
  local words = {}
  for word in (line .. "\t"):gmatch "([^\t]*)\t" do words[#words + 1] = word end
  local held, answer = pcall(commands[words[1]], unpack(words, 2))
  io.write((tostring(answer):gsub("\n", " ")), "\n")
  io.flush()
  if not held then call = nil end
end
