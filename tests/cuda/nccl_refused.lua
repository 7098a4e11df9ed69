-- Names an algorithm that needs symmetric memory, which PERI_P2P=0 takes away: the error names two GPUs.
--   PERI_P2P=0 peri run -n 2 --backend cuda tests/cuda/nccl_refused.lua
local peri = require "peri"
peri.ones({ 4 }):all_reduce { algorithm = "one_shot" }
