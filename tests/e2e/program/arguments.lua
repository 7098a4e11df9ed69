-- run: peri run -n 2 $FILE --merge 'b c' --x -n 3
-- stdout: [0] --merge|b c|--x|-n|3
-- What follows the script is the script's.
assert(select("#", ...) == 5 and arg[0] == "arguments.lua" and select(2, ...) == "b c")
if require "peri".rank == 0 then print(table.concat(arg, "|")) end
