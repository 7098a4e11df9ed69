-- run: peri run $FILE
-- exit: 130
-- within: 2
-- stderr: interrupt_alone.lua:11: interrupted
-- stderr: stack traceback:
-- stderr: 	interrupt_alone.lua:11: in function 'spin'
-- stderr: 	interrupt_alone.lua:12: in main chunk
-- A process that is the only rank is interrupted itself, whatever errors the script catches.
os.execute "(sleep 0.2; kill -INT $PPID) &"
local function spin()
  while true do pcall(string.rep, "x", 10) end
end spin()
