-- run: peri run -n 2 $FILE
-- stdout: [0] ShapeMismatch	caught.lua:5	0
-- A script may catch an error and go on; what it catches tells code, message, place, hint and rank.
local peri = require "peri"
local ok, e = pcall(function() peri.ones { 2 }:mm(peri.ones { 3, 1 }) end)
assert(not ok and e.message:find "^matmul: " and tostring(e):find "made at caught.lua:5" and e.hint)
local f = peri.compile(function(x) error("in the trace: " .. tostring(x)) end)
ok = pcall(f, peri.ones { 1 })
assert(not ok and peri.ones { 2 }:sum():item() == 2)  -- the trace is over
peri.barrier()
if peri.rank == 0 then print(e.code, e.at, e.rank) end
