-- run: for i in $(seq ${COUNT:-2}); do for dtype in f32 f16 bf16; do for signal in INT TERM; do
-- run:   peri run $FILE $dtype $signal 0.0$((RANDOM % 10)) 2>/dev/null; echo $?
-- run: done; done; done | sort | uniq -c | sed "s/^ *$((6 * ${COUNT:-2})) //"
-- stdout: 130
-- A signal while a matrix product runs ends the script, and nothing that the product computes with is overwritten by
-- the handler: oneDNN's generated code keeps values below the stack pointer.
local peri = require "peri"
local dtype, signal, delay = ...
local a = (peri.randn({ 1000, 900 }, { seed = 1 }) * 4):to(dtype)
local b = (peri.randn({ 900, 800 }, { seed = 2 }) * 4):to(dtype)
os.execute("(sleep " .. delay .. "; kill -" .. signal .. " $PPID) &")
while true do
  a:mm(b)
  a:t():contiguous():t():mm(b)
  a:mm(b:t():contiguous():t())
  a:slice(1, 1, 1):mm(b)
end
