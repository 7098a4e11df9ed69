-- run: peri run -n 2 $FILE
-- exit: 1
-- within: 2
-- stderr: [0-1] runtime.lua:13: attempt to index local 'x' (a nil value)
-- stderr: [0-1] stack traceback:
-- stderr: [0-1] 	runtime.lua:13: in function 'inner'
-- stderr: [0-1] 	runtime.lua:16: in function 'outer'
-- stderr: [0-1] 	runtime.lua:19: in main chunk
-- stderr: peri: all 2 ranks ended with exit code 1 (error in the script)
require "peri"
local function inner()
  local x = nil
  local y = x.field
  return y
end
local function outer() inner() end

-- The library's own frames are not shown.
outer()
