-- Peri's side of scripts/bench/gpu: one token through layers of Llama's shape (bf16), tensor-parallel over
-- the ranks: heads and the feed-forward are split, with an all-reduce after each half.
--   peri run -n N scripts/bench/decode.lua FOLDER ROWS ROUNDS LAYERS REPLAYS HEAD_DIM CONTEXT ...
local peri = require "peri"
local common = require "common"

local layers, replays, head_dim = tonumber(arg[4]), tonumber(arg[5]), tonumber(arg[6])
local function part(name, dim)  -- this rank's, of a weight or a cache that the driver made
  local file = peri.load(common.folder .. "/" .. name .. ".safetensors")
  return file:tensor("x", { shard = { dim, peri.world } })
end
local q, k, v = part("decode.q", 2), part("decode.k", 2), part("decode.v", 2)
local heads, kv_heads = q:size(2) / head_dim, k:size(2) / head_dim
local ff = part("decode.gate", 2):size(2)
local qkv, gate_up = peri.cat({ q, k, v }, 2), peri.cat({ part("decode.gate", 2), part("decode.up", 2) }, 2)
local o, down, norm = part("decode.o", 1), part("decode.down", 1), common.load "decode.norm"
local x = common.load "decode.x"

for i = 7, #arg do
  local context = tonumber(arg[i])
  local keys, values = part("decode.keys." .. context, 2), part("decode.values." .. context, 2)
  local blocks = {}
  for n = 1, layers do  -- the same numbers in memory of their own, so that no cache holds them
    blocks[n] = { qkv = qkv * 1, o = o * 1, gate_up = gate_up * 1, down = down * 1,
                  keys = keys * 1, values = values * 1 }
  end
  local position = peri.tensor({ context - 1 }, { dtype = "i32" })
  local step = peri.compile(function(h)
    for _, b in ipairs(blocks) do
      local projected = h:rms_norm(norm):mm(b.qkv)
      local function take(first, count)
        local columns = projected:slice(2, first * head_dim + 1, (first + count) * head_dim)
        return columns:reshape { 1, count, head_dim }
      end
      b.keys:index_copy_(1, position, take(heads, kv_heads):rope(position))
      b.values:index_copy_(1, position, take(heads + kv_heads, kv_heads))
      local a = take(0, heads):rope(position):attention(b.keys, b.values, position)
      h = h + peri.all_reduce(a:reshape { 1, heads * head_dim }:mm(b.o))
      local wide = h:rms_norm(norm):mm(b.gate_up)
      h = h + peri.all_reduce((wide:slice(2, 1, ff):silu() * wide:slice(2, ff + 1, 2 * ff)):mm(b.down))
    end
    return h
  end)
  common.write {
    figure = "decode", column = "auto", context = context, layers = layers,
    us = common.time(replays, function() step(x) end), result = common.save("decode." .. context, step(x)),
  }
end
