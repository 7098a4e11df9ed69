-- run: peri run -n 2 $FILE
-- Calls of a recording may begin before the ones before them have ended, and wait for these themselves: what follows a
-- slow call reads what that call writes at last, also as the weights of a product, which are read ahead. Results
-- are those of the uncompiled function, bit by bit.
local peri = require "peri"
local n, width = 6 * 1024 * 1024, 1024
local function last(t) return t:slice(1, -width, -1):reshape { 1, width } end
local function body(x, w, ids)
  local slow = x * 2
  local h = last(slow):to "bf16"                    -- a small kernel after a slow one
  local weights = (w * 0.5):t():contiguous()        -- slow, and read ahead by the product behind it
  local y = h:mm(weights)
  local reduced = peri.all_reduce(y:rms_norm(weights[1]))
  local sorted = last(x + slow):to "bf16"
  local chosen = weights:index_select(1, ids):mm(w)  -- a product after a lookup
  local z = (reduced + sorted):mm(weights + w)       -- the sum of weights is written just before
  return z, chosen, slow:sum(), reduced:softmax(2)
end
local f = peri.compile(body)
local w = peri.randn({ width, width }, { seed = 2, dtype = "bf16" }) / 32
local ids = peri.tensor({ 3, 1023, 0 }, { dtype = "i32" })
for call = 1, 6 do
  local x = peri.randn({ n }, { seed = 10 * call + peri.rank })
  local wanted, got = { body(x, w, ids) }, { f(x, w, ids) }
  for k = 1, #wanted do
    local differ = wanted[k]:ne(got[k]):to "i32":sum():item()
    assert(differ == 0, ("call %d, result %d: %d elements differ"):format(call, k, differ))
  end
end
