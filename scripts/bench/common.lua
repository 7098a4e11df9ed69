-- What peri's programs of scripts/bench/gpu share: their arguments, how a time is taken, the rows they write.
local peri = require "peri"

local common = {}

-- The driver gives every program: the folder with the inputs, the file for the rows, and how many rounds.
common.folder, common.rows, common.rounds = arg[1], arg[2], tonumber(arg[3])

-- The one tensor of a file that the driver made.
function common.load(name)
  return peri.load(common.folder .. "/" .. name .. ".safetensors"):tensor "x"
end

-- Leaves a result for the driver to check, and gives the name for its row.
function common.save(name, tensor)
  peri.save(string.format("%s/%s.%d.safetensors", common.folder, name, peri.rank), { x = tensor })
  return name
end

-- Microseconds per call, a number for each round, of the slowest rank: `calls` calls between a barrier and a
-- synchronisation. The first round warms up.
function common.time(calls, call)
  local times = {}
  for round = 0, common.rounds do
    peri.barrier()
    local start = peri.clock()
    for _ = 1, calls do call() end
    times[round] = (peri.clock() - start) / calls * 1e6
  end
  times[0] = nil
  return peri.all_reduce(peri.tensor(times), "max"):totable()
end

local function encode(value)
  if type(value) == "number" then return string.format("%.10g", value) end
  if type(value) == "string" then return string.format("%q", value) end
  local parts = {}
  for i, item in ipairs(value) do parts[i] = encode(item) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

-- Appends one object to the rows.
function common.write(row)
  if peri.rank ~= 0 then return end
  local parts = {}
  for key, value in pairs(row) do parts[#parts + 1] = string.format("%q: %s", key, encode(value)) end
  local file = assert(io.open(common.rows, "a"))
  file:write("{", table.concat(parts, ", "), "}\n")
  file:close()
end

return common
