-- Continues a prompt with a small byte-level transformer, tensor-parallel over the ranks: attention heads and
-- the feed-forward are split, with an all-reduce after each half block. It was trained on Lua programs
-- (scripts/train), so it writes Lua.
--   peri run -n 4 scripts/examples/generate.lua "local function fib(n)" [--bytes 400] [--stats]
local peri = require "peri"

local prompt, limit, show_stats = "local function fib(n)", 400, false
local i = 1
while i <= #arg do
  if arg[i] == "--stats" then
    show_stats = true
  elseif arg[i] == "--bytes" then
    i = i + 1
    limit = assert(tonumber(arg[i]), "--bytes takes a number")
  else
    prompt = arg[i]:gsub("\\n", "\n")
  end
  i = i + 1
end
if not prompt:find "\n$" then prompt = prompt .. "\n" end

local folder = arg[0]:match("^(.*)/[^/]*$") or "."
local file = peri.load(folder .. "/data/lua.safetensors")
local function setting(name) return tonumber(file.metadata[name]) end
local hidden, layers = setting "hidden_size", setting "num_hidden_layers"
local heads, context = setting "num_attention_heads", setting "max_position_embeddings"
local base, eps = setting "rope_theta", setting "rms_norm_eps"
local head_dim = hidden / heads
if heads % peri.world_size ~= 0 then
  error(heads .. " heads can't be split over " .. peri.world_size .. " ranks: use 1, 2 or 4", 0)
end
limit = math.min(limit, context - #prompt)

-- This rank's part of each weight [out, in]: rows of those that widen, columns of those that narrow again.
local function rows(name) return file:tensor(name, { shard = { 1, peri.world } }) end
local function columns(name) return file:tensor(name, { shard = { 2, peri.world } }) end
local blocks = {}
for n = 1, layers do
  local p = "model.layers." .. n - 1 .. "."
  blocks[n] = {
    norm1 = file:tensor(p .. "input_layernorm.weight"),
    norm2 = file:tensor(p .. "post_attention_layernorm.weight"),
    q = rows(p .. "self_attn.q_proj.weight"), k = rows(p .. "self_attn.k_proj.weight"),
    v = rows(p .. "self_attn.v_proj.weight"), o = columns(p .. "self_attn.o_proj.weight"),
    gate = rows(p .. "mlp.gate_proj.weight"), up = rows(p .. "mlp.up_proj.weight"),
    down = columns(p .. "mlp.down_proj.weight"),
    keys = peri.zeros({ context, heads / peri.world_size, head_dim }),
    values = peri.zeros({ context, heads / peri.world_size, head_dim }),
  }
end
local table_, norm = file:tensor "model.embed_tokens.weight", file:tensor "model.norm.weight"
local head = file:tensor "lm_head.weight"

-- The logits [s, 256] after these tokens [s] at these positions [s] (0-based); changes the caches in place.
local step = peri.compile(function(tokens, positions, caches)
  local s = tokens:size(1)
  local function split(x) return x:reshape { s, -1, head_dim } end
  local x = peri.embedding(tokens, table_)
  for n, b in ipairs(blocks) do
    local h = x:rms_norm(b.norm1, eps)
    local cache = caches[n]
    cache.keys:index_copy_(1, positions, split(h:linear(b.k)):rope(positions, base))
    cache.values:index_copy_(1, positions, split(h:linear(b.v)))
    local a = split(h:linear(b.q)):rope(positions, base):attention(cache.keys, cache.values, positions)
    x = x + peri.all_reduce(a:reshape { s, -1 }:linear(b.o))
    h = x:rms_norm(b.norm2, eps)
    x = x + peri.all_reduce((h:linear(b.gate):silu() * h:linear(b.up)):linear(b.down))
  end
  return x:rms_norm(norm, eps):linear(head)
end)

local caches = {}
for n, b in ipairs(blocks) do caches[n] = { keys = b.keys, values = b.values } end
local function ids(list) return peri.tensor(list, { dtype = "i32" }) end

local tokens, positions = {}, {}
for n = 1, #prompt do tokens[n], positions[n] = prompt:byte(n), n - 1 end
local logits = step(ids(tokens), ids(positions), caches)
local text, count, start = {}, 0, peri.clock()
for position = #prompt, #prompt + limit - 1 do
  local byte = logits[-1]:argmax(1):item()
  if byte == 0 then break end  -- end of text
  text[#text + 1] = string.char(byte)
  logits = step(ids { byte }, ids { position }, caches)
  count = count + 1
end
local seconds = peri.clock() - start

if peri.rank == 0 then
  io.write(prompt, table.concat(text), "\n")
  io.stderr:write(string.format("%d bytes, %.0f tokens per second on %d rank%s\n", count, count / seconds,
                                peri.world_size, peri.world_size == 1 and "" or "s"))
  if show_stats then print(step:explain()) end
end
