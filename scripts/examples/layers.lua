-- Layers of matmul -> one-shot all-reduce, compiled under both lowerings, with the figures of both plans.
--   peri run -n 2 scripts/examples/layers.lua [hidden] [sequence] [layers]
local peri = require "peri"
local H, S, L = tonumber(arg[1] or 4096), tonumber(arg[2] or 128), tonumber(arg[3] or 8)

local weights = {}
for i = 1, L do weights[i] = peri.randn({ H, H }, { dtype = "bf16", seed = i }) / math.sqrt(H) end
local x = peri.randn({ S, H }, { dtype = "bf16", seed = 99 })

local function layers(h)
  for i = 1, L do h = peri.all_reduce(h:mm(weights[i]), "avg") end
  return h
end

local function measure(lowering)
  local policy = { all_reduce = "one_shot", lowering = lowering, planning = "reuse", barriers = "full" }
  local model = peri.compile(layers, { policy = policy })
  local y = model(x)
  local iterations, start = 0, peri.clock()
  repeat
    for _ = 1, 3 do y = model(x) end
    iterations = iterations + 3
    -- All ranks stop at the same iteration.
    local elapsed = peri.all_reduce(peri.tensor { peri.clock() - start }, "max"):item()
  until elapsed > 0.1
  return model:stats(), (peri.clock() - start) / iterations, y
end

local fallback, fallback_time, y1 = measure "fallback"
local out_variant, out_time, y2 = measure "out_variant"
local difference = (y1:to "f32" - y2:to "f32"):abs():max():item()

if peri.rank == 0 then
  print(string.format("%d layers, hidden %d, sequence %d, bf16, %d ranks", L, H, S, peri.world_size))
  print(string.format("%-24s%12s%14s", "", "fallback", "out_variant"))
  for _, name in ipairs { "buffer_names", "reuses", "device_allocs", "p2p_allocs", "out_variant_calls",
                          "intermediate_buffers", "identity_copies", "input_copies", "comm_pool_bytes",
                          "peak_bytes", "barriers", "kernels", "captured_partitions" } do
    print(string.format("%-24s%12d%14d", name, fallback[name], out_variant[name]))
  end
  print(string.format("%-24s%12.2f%14.2f", "ms per iteration", fallback_time * 1e3, out_time * 1e3))
  print(string.format("largest difference between the two results: %g", difference))
end
