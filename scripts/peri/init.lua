-- The part of the Lua API that is written in Lua: conveniences over the op table.
-- `require "peri"` gives this table.
local peri = require "peri.core"
local methods = peri.methods

-- A dimension of `count`, 1-based; from -1 at the last. Errors name the caller's line.
local function position(name, what, dim, count)
  if type(dim) ~= "number" or dim % 1 ~= 0 then
    error(string.format("%s: %s must be a whole number, not %s", name, what, tostring(dim)), 3)
  end
  if dim == 0 or math.abs(dim) > count then
    local range = "it counts to %d from 1, or from -1 at the last"
    error(string.format("%s: %s %d is out of range: " .. range, name, what, dim, count), 3)
  end
  return dim < 0 and count + 1 + dim or dim
end

-- x:chunk(n, dim): n equal parts along one dimension (the last may be smaller), as a table.
function peri.chunk(x, n, dim)
  dim = position("chunk", "dim", dim or 1, x:dim())
  if type(n) ~= "number" or n < 1 or n % 1 ~= 0 then
    error("chunk: n must be a positive whole number, not " .. tostring(n), 2)
  end
  local size = x:size(dim)
  local step = math.max(math.ceil(size / n), 1)
  local parts = {}
  for first = 1, size, step do
    parts[#parts + 1] = x:slice(dim, first, math.min(first + step - 1, size))
  end
  return parts
end

-- x:split(size, dim): parts of that size along one dimension (the last may be smaller); x:split({2, 3}, dim):
-- parts of these sizes, which cover it. As a table.
function peri.split(x, sizes, dim)
  dim = position("split", "dim", dim or 1, x:dim())
  local total = x:size(dim)
  if type(sizes) == "number" then
    if sizes < 1 or sizes % 1 ~= 0 then
      error("split: size must be a positive whole number, not " .. tostring(sizes), 2)
    end
    local size, left = sizes, total
    sizes = {}
    while left > 0 do
      sizes[#sizes + 1] = math.min(size, left)
      left = left - size
    end
  elseif type(sizes) ~= "table" then
    error("split: sizes must be a whole number or a table of them, not " .. type(sizes), 2)
  end
  local parts, first = {}, 1
  for i, size in ipairs(sizes) do
    if type(size) ~= "number" or size < 0 or size % 1 ~= 0 then
      error(string.format("split: sizes[%d] must be a whole number from 0, not %s", i, tostring(size)), 2)
    end
    if first + size - 1 > total then break end
    parts[i] = x:slice(dim, first, first + size - 1)
    first = first + size
  end
  if #parts < #sizes or first <= total then
    local sum = 0
    for _, size in ipairs(sizes) do sum = sum + size end
    error(string.format("split: the sizes sum to %d, and dim %d has %d", sum, dim, total), 2)
  end
  return parts
end

-- x:max_with_indices(dim, keepdim): the largest along one dimension and its position (0-based, i64), the
-- first of equal ones. x:min_with_indices likewise.
for _, name in ipairs { "max", "min" } do
  peri[name .. "_with_indices"] = function(x, dim, keepdim)
    local indices = peri["arg" .. name](x, dim, true)
    local values = peri.gather(x, dim, indices)
    if keepdim then return values, indices end
    return peri.squeeze(values, dim), peri.squeeze(indices, dim)
  end
end

-- x:select(dim, i): position i of one dimension, which goes away.
function peri.select(x, dim, i)
  dim = position("select", "dim", dim, x:dim())
  local shape = x:shape()
  table.remove(shape, dim)
  return x:slice(dim, i, i):reshape(shape)
end

-- x:unsqueeze(dim): a new dimension of size 1 at dim.
function peri.unsqueeze(x, dim)
  local shape = x:shape()
  dim = position("unsqueeze", "dim", dim, #shape + 1)
  table.insert(shape, dim, 1)
  return x:reshape(shape)
end

-- x:squeeze(dim): without that dimension, if its size is 1; without dim, without all such.
function peri.squeeze(x, dim)
  local shape = {}
  dim = dim and position("squeeze", "dim", dim, x:dim())
  for i, size in ipairs(x:shape()) do
    if size ~= 1 or (dim and dim ~= i) then shape[#shape + 1] = size end
  end
  return x:reshape(shape)
end

-- x:flatten(first, last): the dimensions first to last joined into one.
function peri.flatten(x, first, last)
  local old, shape = x:shape(), {}
  if #old == 0 then return x:reshape { 1 } end
  first = position("flatten", "first", first or 1, #old)
  last = position("flatten", "last", last or -1, #old)
  if first > last then error(string.format("flatten: dim %d comes after dim %d", first, last), 2) end
  local joined = 1
  for i, size in ipairs(old) do
    if i < first or i > last then
      shape[#shape + 1] = size
    else
      joined = joined * size
      if i == last then shape[#shape + 1] = joined end
    end
  end
  return x:reshape(shape)
end

-- x:clamp(low, high): either may be nil.
function peri.clamp(x, low, high)
  if low then x = peri.maximum(x, low) end
  if high then x = peri.minimum(x, high) end
  return x
end

-- x:log_softmax(dim): the logarithm of the softmax.
function peri.log_softmax(x, dim)
  dim = dim or -1
  local shifted = x - x:max(dim, true)
  return shifted - shifted:exp():sum(dim, true):log()
end

-- x:var(dim, keepdim): the variance, with n in the denominator.
function peri.var(x, dim, keepdim)
  local centred = x - x:mean(dim, true)
  return centred:square():mean(dim, keepdim or false)
end

-- For each of these counts, the sum of those before it.
local function starts(counts)
  local n = counts:size(1)
  local places = peri.arange(n)
  local is_before = places:reshape { 1, n }:lt(places:reshape { n, 1 }):to "i64"
  return (is_before * counts:reshape { 1, n }):sum(2)
end
-- Rows of x by their positions, zeros where `filled` does not hold.
local function rows_at(x, positions, filled)
  local shape = { positions:numel() }
  local column = { positions:numel() }
  for i = 2, x:dim() do shape[i], column[i] = x:size(i), 1 end
  if x:size(1) == 0 then return peri.zeros(shape, { dtype = x:dtype() }) end
  local rows = x:index_select(peri.where(filled, positions, 0):reshape { positions:numel() }, 1)
  return peri.where(filled:reshape(column), rows, peri.zeros({}, { dtype = x:dtype() }))
end

-- x:all_to_all_v(counts, {capacity = c, group = g}): the first counts[1] rows of x go to the first member,
-- the next counts[2] to the second, and so on; at most c to each. Gives the rows that arrive, in member
-- order, followed by zeros, and how many came from each. The counts are a tensor, so a compiled function may
-- get others at each call.
function peri.all_to_all_v(x, counts, options)
  options = options or {}
  for key in pairs(options) do
    if key ~= "capacity" and key ~= "group" then
      error("all_to_all_v: no option '" .. tostring(key) .. "'; there are: capacity, group", 2)
    end
  end
  local group = options.group or peri.world
  if type(group) == "table" then group = peri.group(group) end
  local members = group.size
  if x:dim() == 0 then error("all_to_all_v: a number has no rows", 2) end
  if counts:dim() ~= 1 or counts:size(1) ~= members or not counts:dtype():find "^i" then
    local text = "all_to_all_v: counts must be i64[%d] or i32[%d], one for each member, not %s[%s]"
    local shape = table.concat(counts:shape(), ",")
    error(text:format(members, members, counts:dtype(), shape), 2)
  end
  local n = x:size(1)
  local capacity = options.capacity or n
  if type(capacity) ~= "number" or capacity < 0 or capacity % 1 ~= 0 then
    error("all_to_all_v: capacity must be a whole number of rows, not " .. tostring(capacity), 2)
  end

  -- A block of `capacity` rows for each member.
  local wanted = counts:to "i64":clamp(0)
  local first = starts(wanted)
  local sent = peri.minimum(wanted:clamp(nil, capacity), (n - first):clamp(0))
  local slot = peri.arange(capacity):reshape { 1, capacity }
  local blocks = rows_at(x, first:reshape { members, 1 } + slot, slot:lt(sent:reshape { members, 1 }))
  local arrived = peri.all_to_all(blocks, { group = group })
  local received = peri.all_to_all(sent, { group = group })

  -- Row i is of the first member whose rows do not end before it.
  local begin = starts(received)
  local row, ends = peri.arange(members * capacity), begin + received
  local has_ended = row:reshape { members * capacity, 1 }:ge(ends:reshape { 1, members })
  local ended = has_ended:to "i64":sum(2)
  local member = ended:clamp(nil, members - 1)
  local source = member * capacity + row - begin:index_select(member, 1)
  return rows_at(arrived, source, ended:lt(members)), received
end

local conveniences = { "chunk", "split", "max_with_indices", "min_with_indices", "select", "unsqueeze",
  "squeeze", "flatten", "clamp", "log_softmax", "var", "all_to_all_v" }
for _, name in ipairs(conveniences) do
  methods[name] = peri[name]
end

return peri
