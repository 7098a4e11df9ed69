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

local conveniences = { "chunk", "select", "unsqueeze", "squeeze", "flatten", "clamp", "log_softmax", "var" }
for _, name in ipairs(conveniences) do
  methods[name] = peri[name]
end

return peri
