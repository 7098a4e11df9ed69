-- run: export WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=$$; RANK=1 peri run --trace $TMP/t.json $FILE & RANK=0 peri run --trace $TMP/t.json $FILE; wait $!; env -u WORLD_SIZE peri run read_trace.lua $TMP/t.json.0 1 64; env -u WORLD_SIZE peri run read_trace.lua $TMP/t.json.1 1 64; ls $TMP
-- stdout: 1 ranks, 1 all_reduce of 64 bytes
-- stdout: 1 ranks, 1 all_reduce of 64 bytes
-- stdout: t.json.0
-- stdout: t.json.1
-- Under torchrun each rank writes a file of its own, also when it ends by os.exit.
local peri = require "peri"
peri.all_reduce(peri.ones { 16 })
os.exit(0)
