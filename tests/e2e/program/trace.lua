-- run: peri run -n 2 --trace $TMP/t.json $FILE && peri run --trace $TMP/alone.json $FILE && peri run read_trace.lua $TMP/t.json 2 64 && peri run read_trace.lua $TMP/alone.json 1 64
-- stdout: 2 ranks, 6 all_reduce of 64 bytes
-- stdout: 1 ranks, 1 all_reduce of 64 bytes
-- A timeline of all ranks in one file: one all_reduce at once, and two in replays, where a lone rank needs none.
local peri = require "peri"
local f = peri.compile(function(x) return peri.all_reduce(x + 1) end)
local x = peri.all_reduce(peri.ones { 16 })
f(x)
f(x)
