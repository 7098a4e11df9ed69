-- run: for n in 1 2 3 4; do peri run -n $n $FILE || exit; done
-- Rows to each member, as many as a tensor says: against counts worked out by hand, eagerly and compiled.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local r, n = peri.rank, peri.world_size

-- Rank a sends (a + 2 b + shift) % 4 rows to rank b. Element k of row i of rank a is 1000 a + 10 i + k.
local function count(a, b, shift) return (a + 2 * b + shift) % 4 end
local function begin(a, b, shift)
  local total = 0
  for k = 0, b - 1 do total = total + count(a, k, shift) end
  return total
end
local function expected(shift, capacity)
  local rows, counts = {}, {}
  for a = 0, n - 1 do
    counts[a + 1] = math.min(count(a, r, shift), capacity)
    for i = 0, counts[a + 1] - 1 do
      for k = 0, 2 do rows[#rows + 1] = 1000 * a + 10 * (begin(a, r, shift) + i) + k end
    end
  end
  for i = #rows + 1, n * capacity * 3 do rows[i] = 0 end
  return rows, counts
end

local rows = 3 * n + 2  -- at least as many as are sent
local x = (peri.arange(rows) * 10 + 1000 * r):reshape { rows, 1 } + peri.arange(3):reshape { 1, 3 }
local function check_all(f, capacity, what)
  for shift = 0, 3 do
    local mine = {}
    for b = 0, n - 1 do mine[b + 1] = count(r, b, shift) end
    local counts = peri.tensor(mine, { dtype = "i64" })
    local want, from = expected(shift, capacity)
    for _, dtype in ipairs { "f32", "i64" } do
      local y, received = f(x:to(dtype), counts)
      check.is(y, unpack(want))
      check.is(received, unpack(from))
      assert(y:dtype() == dtype and y:size(1) == n * capacity and y:size(2) == 3, what)
    end
  end
end
for _, capacity in ipairs { 3, 2, 5 } do
  local function f(a, counts) return a:all_to_all_v(counts, { capacity = capacity }) end
  check_all(f, capacity, "eager")
  check_all(peri.compile(f), capacity, "compiled")
end

-- There and back again, for experts: the counts that arrived are the counts to send.
local there_and_back = peri.compile(function(a, counts)
  local y, received = a:all_to_all_v(counts, { capacity = 3 })
  local back, returned = (y * 2):all_to_all_v(received, { capacity = 3 })
  return back, returned
end)
local mine, total = {}, begin(r, n, 1)
for b = 0, n - 1 do mine[b + 1] = count(r, b, 1) end
local counts = peri.tensor(mine, { dtype = "i32" })
local back, returned = there_and_back(x:to "f32", counts)
check.same(back:slice(1, 1, total), x:to "f32":slice(1, 1, total) * 2, "back again")
check.is(returned, unpack(mine))

-- Counts beyond the rows that there are, negative ones, no rows at all; vectors; a part of the ranks.
local odd = {}
for b = 1, n do odd[b] = b == 1 and 2 or b == n and 100 or -5 end
odd = peri.tensor(odd, { dtype = "i64" })
local y, received = peri.all_to_all_v(peri.arange(4) + 10 * r, odd, { capacity = 4 })
local rest = (r == 0 or r == n - 1) and 2 or 0  -- to the first 2, then what is left to the last
check.is(received:sum(), rest * n)
assert(y:size(1) == 4 * n)
local none, zero = peri.all_to_all_v(peri.zeros { 0, 2 }, odd, { capacity = 1 })
check.is(none:sum(), 0)
check.is(zero:sum(), 0)
if n > 2 and r ~= 1 then
  local pair = n == 4 and r == 3 and { 3 } or { 2, 0 }
  if #pair == 2 then
    local got = peri.all_to_all_v(peri.tensor { r + 1, r + 1.5 }, peri.tensor({ 1, 1 }, { dtype = "i64" }),
                                  { group = pair, capacity = 1 })
    check.is(got, r == 2 and 3 or 3.5, r == 2 and 1 or 1.5)
  end
end
local text = "ragged.lua:*: all_to_all_v: "
check.raises(text .. "counts must be i64[" .. n .. "] or i32[" .. n .. "], one for each member, not f32[7]",
             function() return x:all_to_all_v(peri.ones { 7 }) end)
check.raises(text .. "no option 'capcity'; *", function() return x:all_to_all_v(counts, { capcity = 1 }) end)
check.raises(text .. "capacity must be a whole number of rows, not 1.5",
             function() return x:all_to_all_v(counts, { capacity = 1.5 }) end)
