-- Peri's side of scripts/bench/gpu: layers of matmul -> all-reduce (bf16, sum), and the matmuls alone.
--   peri run -n N scripts/bench/layers.lua FOLDER ROWS ROUNDS LAYERS REPLAYS SEQUENCE ...
local peri = require "peri"
local common = require "common"

local layers, replays = tonumber(arg[4]), tonumber(arg[5])
local weights = {}
for i = 1, layers do weights[i] = common.load("w" .. i) end

local function model(h)
  for i = 1, layers do h = peri.all_reduce(h:mm(weights[i]), "sum") end
  return h
end
local function matmuls(h)
  for i = 1, layers do h = h:mm(weights[i]) end
  return h
end

for i = 6, #arg do
  local x = common.load("s" .. arg[i] .. "." .. peri.rank)
  for column, body in ipairs { model, matmuls } do
    local f = peri.compile(body)
    common.write {
      figure = "layers", column = column == 1 and "auto" or "matmuls", sequence = tonumber(arg[i]),
      us = common.time(replays, function() f(x) end),
      result = column == 1 and common.save("layers." .. arg[i], f(x)) or nil,
    }
  end
end
