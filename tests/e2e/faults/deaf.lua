-- run: for signal in TERM INT; do peri run --jit $FILE loop $signal; echo $?; peri run $FILE finalizer $signal; echo $?; done
-- within: 10
-- backend: host
-- stdout: 143
-- stdout: 143
-- stdout: 130
-- stdout: 130
-- stderr: *
-- A rank that does not listen, because it runs a compiled loop or a finalizer, is ended by a second Ctrl-C at once and
-- by SIGTERM after a second.
local what, signal = ...
os.execute(("(sleep 0.4; kill -%s $PPID; sleep 0.3; kill -%s $PPID) &"):format(signal, signal))
if what == "finalizer" then
  getmetatable(newproxy(true)).__gc = function() while true do pcall(string.rep, "x", 10) end end
else
  while true do end
end
