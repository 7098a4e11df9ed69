-- run: for i in $(seq ${COUNT:-2}); do for dtype in f32 f16 bf16 i32; do for signal in INT TERM; do
-- run:   peri run $FILE $dtype $signal 0.0$((RANDOM % 10)) 2>/dev/null; echo $?
-- run: done; done; done | sort | uniq -c | sed "s/^ *$((8 * ${COUNT:-2})) //"
-- stdout: 130
-- A signal while a matrix product runs ends the script, and nothing that the product computes with is overwritten by
-- the handler: oneDNN's generated code keeps values below the stack pointer.
local peri = require "peri"
local dtype, signal, delay = ...
local a = (peri.randn({ 96, 300 }, { seed = 1 }) * 4):to(dtype)
local b = (peri.randn({ 300, 200 }, { seed = 2 }) * 4):to(dtype)
local right = a:mm(b)
os.execute("(sleep " .. delay .. "; kill -" .. signal .. " $PPID) &")
local n = 0
while true do
  local forms = { a:mm(b), a:t():t():mm(b:t():contiguous():t()), a:mm(b:slice(2, 1, 1)), a:slice(1, 1, 1):mm(b) }
  n = n + 1
  if n % 8 == 0 and right:ne(forms[1]):to "i32":sum():item() > 0 then os.exit(9) end
end
