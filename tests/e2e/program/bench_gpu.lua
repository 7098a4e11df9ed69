-- run: peri run -n 2 $FILE $TMP && B=../../../scripts/bench && for figure in 'all_reduce 2048:4:2 65536:2:1' 'layers 2 3 4 1' 'decode 2 3 4 8' 'calls 3 2 4 1 8' 'loops 2 16' 'compile 2 4 1'; do read -r name rest <<<"$figure"; peri run -n 2 --backend host $B/$name.lua $TMP $TMP/rows 2 $rest || exit; done; grep -o '"figure": "[a-z_]*"' $TMP/rows | sort | uniq -c
-- stdout: *8 "figure": "all_reduce"
-- stdout: *4 "figure": "calls"
-- stdout: *3 "figure": "compile"
-- stdout: *1 "figure": "decode"
-- stdout: *2 "figure": "host"
-- stdout: *4 "figure": "layers"
-- stdout: *8 "figure": "loops"
-- Peri's programs of scripts/bench/gpu run, on small inputs that this makes.
local peri = require "peri"

local function put(name, shape, dtype, seed)
  local x = peri.randn(shape, { dtype = dtype, seed = seed })
  peri.save(arg[1] .. "/" .. name .. ".safetensors", { x = x })
end

put("x." .. peri.rank, { 32768 }, "bf16", peri.rank)
put("f." .. peri.rank, { 64 }, "f32", peri.rank)
for _, sequence in ipairs { 4, 1 } do
  put("s" .. sequence .. "." .. peri.rank, { sequence, 16 }, "bf16", 9)
end
if peri.rank == 0 then
  for i = 1, 2 do put("w" .. i, { 16, 16 }, "bf16", i) end
end
local decode = {  -- hidden size 16, 4 heads and 2 of keys, of 4
  q = { 16, 16 }, k = { 16, 8 }, v = { 16, 8 }, o = { 16, 16 },
  gate = { 16, 12 }, up = { 16, 12 }, down = { 12, 16 }, norm = { 16 }, x = { 1, 16 },
  ["keys.8"] = { 8, 2, 4 }, ["values.8"] = { 8, 2, 4 },
}
for name, shape in pairs(decode) do
  if peri.rank == 0 then put("decode." .. name, shape, "bf16", #name) end
end
peri.barrier()
