-- run: peri run -n 2 --trace $TMP/t.json $FILE; echo $?; peri run read_trace.lua $TMP/t.json 2 64; peri run -n 2 --trace $TMP $FILE; echo $?; peri run --trace $TMP/no/t.json $FILE
-- exit: 1
-- stdout: 137
-- stdout: 2 ranks, 2 all_reduce of 64 bytes
-- stdout: 1
-- stdout(cuda): 137
-- stdout(cuda): 2 ranks, * all_reduce of 64 bytes
-- stdout(cuda): 1
-- stderr: *rank 1 was killed by SIGKILL
-- stderr: peri: */tmp: cannot write it: a folder
-- stderr: peri: */no/t.json: cannot write it: No such file or directory
-- A rank that is killed leaves what it has seen; a file that cannot be written is refused before anything runs.
local peri = require "peri"
peri.all_reduce(peri.ones { 16 })
for _ = 1, 200 do peri.ones { 4 } end -- times are looked for now and then
if peri.rank == 1 then os.execute "kill -KILL $PPID" end
peri.all_reduce(peri.ones { 16 })
