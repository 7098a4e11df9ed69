-- run: peri run -n 3 --merge $FILE && peri run -n 2 $FILE | sort
-- stdout: [0-2] alike
-- stdout: [2] only 2
-- stdout: [0] alike
-- stdout: [1] alike
-- stderr: [0-2] to stderr
-- stderr: [0-1] to stderr
-- Output is prefixed by the line with the rank; --merge prints once what all ranks print alike.
print "alike"
if require "peri".rank == 2 then
  require "peri".clock()
  io.write "only 2"  -- without an end of line
end
io.stderr:write "to stderr\n"
