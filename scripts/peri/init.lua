-- The part of the Lua API that is written in Lua: conveniences over the op table.
-- `require "peri"` gives this table.
local peri = require "peri.core"
local methods = peri.methods

-- x:chunk(n, dim): n equal parts along one dimension (the last may be smaller), as a table.
function peri.chunk(x, n, dim)
  dim = dim or 1
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
  if dim < 0 then dim = x:dim() + 1 + dim end
  local shape = x:shape()
  table.remove(shape, dim)
  return x:slice(dim, i, i):reshape(shape)
end

-- x:unsqueeze(dim): a new dimension of size 1 at dim.
function peri.unsqueeze(x, dim)
  local shape = x:shape()
  if dim < 0 then dim = #shape + 2 + dim end
  table.insert(shape, dim, 1)
  return x:reshape(shape)
end

-- x:squeeze(dim): without that dimension, if its size is 1; without dim, without all such.
function peri.squeeze(x, dim)
  local shape = {}
  if dim and dim < 0 then dim = x:dim() + 1 + dim end
  for i, size in ipairs(x:shape()) do
    if size ~= 1 or (dim and dim ~= i) then shape[#shape + 1] = size end
  end
  return x:reshape(shape)
end

-- x:flatten(first, last): the dimensions first to last joined into one.
function peri.flatten(x, first, last)
  local old, shape = x:shape(), {}
  first, last = first or 1, last or #old
  if last < 0 then last = #old + 1 + last end
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
