-- run: peri run $FILE tensors || peri run $FILE plain
-- exit: 1
-- within: 2
-- stderr: runaway.lua:12: compiled functions call each other more than 100 deep
-- stderr:    hint: a function that calls itself must end by its plain arguments, not by tensors' values
-- stderr: *stack overflow
-- stderr: stack traceback:
-- stderr: 	runaway.lua:13: in function 'plain'*
-- stderr: 	... (* more)
-- stderr: *	runaway.lua:15: in main chunk
local peri, f, plain = require "peri", nil, nil
f = peri.compile(function(x) return f(x) + 1 end)
plain = function(n) local below = plain(n + 1) return below + 1 end
if arg[1] == "tensors" then f(peri.ones { 1 }) end
plain(1)
