-- run: for n in 2 3 4; do peri run -n $n $FILE || exit; done
-- One-sided writes and signals between ranks: around a ring, on several channels, in a part of the ranks.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local r, n = peri.rank, peri.world_size
local next_rank, previous = (r + 1) % n, (r + n - 1) % n

-- What was put before a signal is there when the signal has come. The second one says that it has been read.
local box = peri.symm.empty { 2, 3 }
peri.barrier()
for round = 1, 20 do
  peri.symm.put(box, next_rank, peri.full({ 2, 3 }, 100 * round + r))
  peri.symm.put_signal(box, next_rank)
  peri.symm.wait_signal(box, previous)
  local want = 100 * round + previous
  check.is(box, want, want, want, want, want, want)
  peri.symm.put_signal(box, previous, { channel = 7 })
  peri.symm.wait_signal(box, next_rank, { channel = 7 })
end

-- Into a window, from a view, of another dtype; channels are apart from each other.
local words = peri.symm.empty({ n, 4 }, { dtype = "i64" })
words:copy_(peri.zeros({ n, 4 }, { dtype = "i64" }))
peri.barrier()
local row = peri.arange(8):reshape { 4, 2 }:t():slice(1, 2, 2) + 10 * r  -- 1, 3, 5, 7 and the rank
for rank = 0, n - 1 do
  if rank ~= r then
    peri.symm.put(words:slice(1, r + 1, r + 1), rank, row)
    peri.symm.put_signal(words, rank, { channel = 1 })
    peri.symm.put_signal(words, rank, { channel = 2 })
  end
end
for rank = 0, n - 1 do
  if rank ~= r then
    peri.symm.wait_signal(words, rank, { channel = 2 })
    peri.symm.wait_signal(words, rank, { channel = 1 })
    check.is(words:slice(1, rank + 1, rank + 1), 1 + 10 * rank, 3 + 10 * rank, 5 + 10 * rank, 7 + 10 * rank)
  end
end

-- A group counts its own signals, and its ranks are global.
if n > 2 and r > 0 then
  local group = { n - 1, 1 }
  if n == 4 and r == 2 then group = { 2, 0 } end
  if group[1] == r or group[2] == r then
    if n < 4 or r ~= 2 then
      local pair, other = peri.symm.empty({ 1 }, { group = group }), r == 1 and n - 1 or 1
      if r == 1 then peri.symm.put_signal(pair, other) else peri.symm.wait_signal(pair, other) end
    end
  end
end
local line = "*.lua:*: symm."
check.raises(line .. "put_signal: rank " .. n .. " is not in group *", peri.symm.put_signal, box, n)
local ordinary = peri.ones { 2 }
check.raises(line .. "put: x : f32[2] lies in ordinary memory\n   hint: *", peri.symm.put, ordinary,
             next_rank, ordinary)
check.raises(line .. "put: source is f32[2], and x is f32[2,3]", peri.symm.put, box, next_rank, ordinary)
check.raises(line .. "put: a put to oneself\n   hint: *", peri.symm.put, box, r, box)
check.raises("*put_signal to rank " .. r .. ", channel 0 over *: a signal to oneself", peri.symm.put_signal,
             box, r)
check.raises("*put_signal to rank " .. next_rank .. ", channel 8 over *: no channel 8: there are 8",
             peri.symm.put_signal, box, next_rank, { channel = 8 })
check.raises(line .. "wait_signal: no option 'chanel'*", peri.symm.wait_signal, box, next_rank,
             { chanel = 1 })
check.raises(line .. "put_signal: works at once, and a function is being compiled\n   hint: *",
             peri.compile(function(x) peri.symm.put_signal(x, next_rank) return x end), box)
peri.barrier()
