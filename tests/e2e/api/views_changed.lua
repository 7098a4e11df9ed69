-- run: peri run -n 2 $FILE
-- A view sees what is changed in its tensor, and the tensor what is changed through its views: compiled as eagerly.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local function fresh() return peri.arange(12):to "f32":reshape(4, 3) + peri.rank end

-- f(x, ...) gives the same, and leaves the same in x, eagerly and compiled, twice.
local function both(what, f, ...)
  local eager = fresh()
  local wanted = { f(eager, ...) }
  local compiled = peri.compile(f)
  for call = 1, 2 do
    local x = fresh()
    local got = { compiled(x, ...) }
    assert(#got == #wanted, what)
    for i = 1, #wanted do check.same(wanted[i], got[i], what .. ", result " .. i .. ", call " .. call) end
    check.same(eager, x, what .. ", the argument, call " .. call)
  end
  return compiled
end

local views = {
  ["x[1]"] = function(x) return x[1] end,
  slice = function(x) return x:slice(2, 2, 3) end,
  steps = function(x) return x:slice(1, 1, 4, 2) end,
  t = function(x) return x:t() end,
  reshape = function(x) return x:reshape(2, 6) end,
  shard = function(x) return peri.shard(x, 1) end,
  expand = function(x) return x:slice(2, 1, 1):expand(4, 2) end,
  unsqueeze = function(x) return x:unsqueeze(2) end,
  ["to the same dtype"] = function(x) return x:to "f32" end,
  ["a view of views"] = function(x) return x:t():slice(1, 2, 3)[2]:slice(1, 2, 4) end,
  ["a reshape that copies"] = function(x) return x:t():reshape(2, 6) end,
}
local changes = {
  add_ = function(v) v:add_(10) end,
  mul_ = function(v) v:mul_(v) end,
  copy_ = function(v) v:copy_(v * 3 + 1) end,
  all_reduce_ = function(v) v:all_reduce_() end,
  index_copy_ = function(v)
    v:index_copy_(1, peri.tensor({ 0 }, { dtype = "i32" }), v:slice(1, 1, 1) * 5)
  end,
}
-- In one order on every rank.
local function sorted(t)
  local names = {}
  for name in pairs(t) do names[#names + 1] = name end
  table.sort(names)
  return ipairs(names)
end
for _, name in sorted(views) do
  for _, how in sorted(changes) do
    local view, change = views[name], changes[how]
    local what = name .. " and " .. how
    both(what .. ": argument", function(x) local v = view(x) change(x) return v * 1, v end)
    both(what .. ": local", function(a) local x = a * 2 local v = view(x) change(x) return v * 1, x end)
    if name ~= "expand" then
      both("through " .. what, function(x) local v = view(x) change(v) return x * 1, v * 1 end)
      both("through " .. what .. ": local", function(a)
        local x = a + 1
        local v, w = view(x), view(x)
        change(v)
        change(x)
        return x, v, w * 2
      end)
    end
  end
end

-- Captured tensors, whole and through views.
local held = fresh()
local add = peri.compile(function(a) held[2]:add_(a) held:mul_(2) return held[2] + held[1] end)
local wanted = fresh()
for _ = 1, 3 do
  wanted[2]:add_(peri.ones { 3 })
  wanted:mul_(2)
  check.same(wanted[2] + wanted[1], add(peri.ones { 3 }), "captured")
  check.same(wanted, held, "captured")
end
local turned = fresh():t()
local through = peri.compile(function() turned:slice(1, 1, 1):add_(7) return turned:t()[1] * 1 end)
check.same(fresh()[1] + peri.tensor { 7, 0, 0 }, through(), "captured and transposed")
check.same(fresh() + peri.tensor { 7, 0, 0 }, turned:t(), "captured and transposed")

-- Overlapping copies are as if through a temporary.
both("shift", function(x) x:slice(1, 2, 4):copy_(x:slice(1, 1, 3)) return x * 1 end)
both("turn", function(x)
  local s = x:slice(1, 1, 3)
  s:copy_(s:t())
  return x[3] * 1
end)
both("rows of one another", function(x) x[1]:add_(x[2]) x[2]:copy_(x[1]) x[3]:add_(x:t()[1][4]) end)
both("the old value is read later", function(x)
  local old = x:contiguous()
  x[2]:mul_(3)
  return old + x, old
end)

-- What is expanded cannot be written.
local message = "*add_: in place: an expanded or unfolded tensor has one element in several places*"
local function expanded(x) x:slice(2, 1, 1):expand(4, 3):add_(1) end
check.raises(message, expanded, fresh())
check.raises(message, peri.compile(expanded), fresh())

-- Not a copy more than the change needs.
local cache = peri.zeros { 3, 8, 4 }
local write = peri.compile(function(c, at, k)
  for layer = 1, 3 do c[layer]:index_copy_(1, at, k * layer) end
  c[2]:slice(1, 1, 2):mul_(2)
end)
write(cache, peri.tensor({ 1, 5 }, { dtype = "i32" }), peri.ones { 2, 4 })
check.is(cache:sum({ 2, 3 }), 8, 16 + 8, 24)
assert(not write:plan():find "contiguous", write:plan())
