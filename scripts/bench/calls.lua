-- Peri's side of scripts/bench/gpu: what one call of a compiled function takes, dispatch included, on an
-- ordinary input (f32), as scripts call it; and the host's part of it.
--   peri run -n N scripts/bench/calls.lua FOLDER ROWS ROUNDS CALLS LAYERS SEQUENCE ROWS_OF_THE_MATRIX ...
local peri = require "peri"
local common = require "common"
local ffi = require "ffi"

ffi.cdef [[
  typedef struct { long seconds, nanoseconds; } peri_bench_time;
  int clock_gettime(int, peri_bench_time *);
]]
local now = ffi.new "peri_bench_time"
-- Microseconds. Unlike peri.clock() it does not wait for the device.
local function clock()
  ffi.C.clock_gettime(1, now)
  return tonumber(now.seconds) * 1e6 + tonumber(now.nanoseconds) / 1e3
end

local calls = tonumber(arg[4])
local input = common.load("f." .. peri.rank)
for i = 7, #arg do
  local n = tonumber(arg[i])
  local x = input:slice(1, 1, n * n):reshape { n, n }
  local f = peri.compile(function(t) return peri.all_reduce(t, "sum") end)
  common.write {
    figure = "calls", column = "pipelined", rows = n, us = common.time(calls, function() f(x) end),
  }
  common.write {
    figure = "calls", column = "synchronised", rows = n,
    us = common.time(calls, function()
      f(x)
      peri.clock()
    end),
    result = common.save("calls." .. n, f(x)),
  }
end

-- The host's part: until the call returns. Few calls in a row, so that they fit in the device's queue; and
-- after so many that each set of outputs has its recording.
local function host(what, f, x)
  local few, times = 20, {}
  for _ = 1, 100 do f(x) end
  for round = 1, common.rounds do
    peri.barrier()
    times[round] = 0
    for _ = 1, few do
      local start = clock()
      f(x)
      times[round] = times[round] + (clock() - start) / few
    end
  end
  common.write { figure = "host", column = what, us = peri.all_reduce(peri.tensor(times), "max"):totable() }
end

local layers, weights = tonumber(arg[5]), {}
for i = 1, layers do weights[i] = common.load("w" .. i) end
local x = common.load("s" .. arg[6] .. "." .. peri.rank)
host("layers", peri.compile(function(h)
  for i = 1, layers do h = peri.all_reduce(h:mm(weights[i]), "sum") end
  return h
end), x)
host("add", peri.compile(function(h) return h + 1 end), input:slice(1, 1, 64))
