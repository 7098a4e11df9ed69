-- run: for n in 1 2 3 4; do peri run -n $n $FILE 1000 ${n}0001 || exit; done
-- within: 60
-- within(cuda): 400
-- Random programs of views, changes in place, nested compiled functions, captured tensors and numbers that change,
-- tables that the functions change, and integers: compiled equal to eager bit by bit, at each of several calls.
-- Arguments: how many programs, the first one's seed.
local peri = require "peri"
local count, first_seed = tonumber(arg[1] or 100), tonumber(arg[2] or 1)
local world = peri.world_size

local seed
local function below(n)  -- the same on every rank
  seed = (seed * 16807) % 2147483647
  return math.floor(seed / 2147483647 * n)
end
local function pick(list) return list[below(#list) + 1] end
local function product(shape)
  local n = 1
  for _, size in ipairs(shape) do n = n * size end
  return n
end
local function same_type(a, b)
  return a:dtype() == b:dtype() and table.concat(a:shape(), ",") == table.concat(b:shape(), ",")
end
-- A captured number, which changes between calls; whether nested functions run uncompiled.
local number, is_reference = 1, true

-- An instruction is a function of the tensors made so far, whose results are appended; v.state is a table among the
-- arguments, v.number the captured number. It is made for the tensors of an eager run, and has none of them, only
-- their numbers and sizes. nil: it does not suit.
local makers = {}
function makers.slice(t, i)
  if t:dim() == 0 then return nil end
  local dim = below(t:dim()) + 1
  local size = t:size(dim)
  local from = below(size) + 1
  local to = from + below(size - from + 1)
  local step = pick { 1, 1, 2 }
  return "slice", function(v) return v[i]:slice(dim, from, to, step) end
end
function makers.select(t, i)
  if t:dim() == 0 then return nil end
  local at = below(t:size(1)) + 1
  return "select", function(v) return v[i][at] end
end
function makers.transpose(t, i)
  if t:dim() < 2 then return nil end
  return "t", function(v) return v[i]:t() end
end
function makers.reshape(t, i)
  local n, shape = product(t:shape()), {}
  for _, size in ipairs { 2, 3 } do
    if n % size == 0 and below(2) == 0 then
      shape[#shape + 1] = size
      n = n / size
    end
  end
  table.insert(shape, below(#shape + 1) + 1, n)
  return "reshape", function(v) return v[i]:reshape(unpack(shape)) end
end
function makers.expand(t, i)
  if t:dim() == 0 or t:size(1) ~= 1 then return nil end
  local shape = t:shape()
  shape[1] = 2
  return "expand", function(v) return v[i]:expand(unpack(shape)) end
end
function makers.shard(t, i)
  for dim = 1, t:dim() do
    if t:size(dim) % world == 0 then return "shard", function(v) return peri.shard(v[i], dim) end end
  end
  return nil
end
function makers.to(_, i)
  local dtype = pick { "f32", "f32", "i32" }
  return "to " .. dtype, function(v) return v[i]:to(dtype) end
end
function makers.copy(_, i) return "contiguous", function(v) return v[i]:contiguous() end end
function makers.compute(t, i)
  local factor = pick(t:dtype() == "i32" and { 1, 2, -1, 3 } or { 0.5, 1, 2, -1 })
  return "compute", function(v) return (v[i] * factor + i):maximum(-64):minimum(64) end
end
local function partner(t, eager)
  local fitting = {}
  for j, other in ipairs(eager) do
    if same_type(t, other) then fitting[#fitting + 1] = j end
  end
  return pick(fitting)
end
function makers.combine(t, i, eager)
  local j = partner(t, eager)
  return "combine " .. j, function(v) return (v[i] - v[j]):maximum(-64):minimum(64) end
end
function makers.choose(t, i, eager)
  local j, limit = partner(t, eager), below(9) - 4
  return "where " .. j, function(v) return peri.where(v[i]:lt(limit), v[i], v[j]) end
end
function makers.divide(t, i)
  if t:dtype() ~= "i32" then return nil end
  local by = pick { 2, 3, -5 }
  return "floor_div", function(v) return v[i]:floor_div(by) + v[i]:mod(by) end
end
function makers.captured_number(_, i)
  return "* number", function(v) return (v[i] * v.number):minimum(64) end
end
function makers.count(_, i)
  return "state.count", function(v)
    v.state.count = v.state.count + 1
    return (v[i] + v.state.count):minimum(64)
  end
end
function makers.keep(_, i) return "state.kept =", function(v) v.state.kept = v[i] * 1 end end
function makers.kept(_, i)
  return "state.kept", function(v)
    v.state.list[2], v.state.list[1] = v.state.list[1], v[i]:sum():to "f32"
    return v.state.kept
  end
end
function makers.add(_, i) return "add_", function(v) v[i]:add_(1) end end
function makers.mul(t, i)
  local factor = t:dtype() == "i32" and -1 or 0.5
  return "mul_", function(v) v[i]:mul_(factor) end
end
function makers.assign(t, i, eager)
  local j = partner(t, eager)
  return "copy_ " .. j, function(v) v[i]:copy_(v[j]) end
end
function makers.accumulate(t, i, eager)
  local j = partner(t, eager)
  return "maximum_ " .. j, function(v) v[i]:maximum_(v[j]) end
end
function makers.turned(t, i)
  if t:dim() ~= 2 or t:size(1) ~= t:size(2) then return nil end
  return "copy_ of t", function(v) v[i]:copy_(v[i]:t()) end
end
function makers.shifted(t, i)
  if t:dim() == 0 or t:size(1) < 2 then return nil end
  local n = t:size(1)
  return "copy_ of a neighbour", function(v) v[i]:slice(1, 2, n):copy_(v[i]:slice(1, 1, n - 1)) end
end
function makers.index_copy(t, i)
  if t:dim() == 0 then return nil end
  local dim = below(t:dim()) + 1
  local at, from = below(t:size(dim)), below(t:size(dim)) + 1
  return "index_copy_", function(v)
    v[i]:index_copy_(dim, peri.tensor({ at }, { dtype = "i32" }), v[i]:slice(dim, from, from) + 1)
  end
end
function makers.reduce(_, i)
  local name = pick { "all_reduce", "all_reduce_" }
  return name, function(v)
    local result = v[i][name](v[i], "max")
    return name == "all_reduce" and result or nil
  end
end

local names = {}
for name in pairs(makers) do names[#names + 1] = name end
table.sort(names)
for _ = 1, 2 do  -- more of views and changes
  for _, name in ipairs { "slice", "select", "add", "mul", "assign", "accumulate" } do
    names[#names + 1] = name
  end
end

local function run(instructions, v)
  for _, instruction in ipairs(instructions) do
    local result = instruction(v)
    if result then v[#v + 1] = result end
  end
end

-- Instructions made and carried out one after the other; `text` says which.
local generate
function makers.nested(t, i, eager, text, depth)
  if depth > 2 then return nil end
  local j = below(#eager) + 1
  local values, inner = { t, eager[j], state = eager.state, number = number }, {}
  generate(inner, values, 1 + below(4), text, depth + 1)
  local given, returned = i, #values
  local function body(a, b, state)
    local v = { a, b, state = state, number = number }
    run(inner, v)
    return v[returned]
  end
  local f = peri.compile(body)
  return "end of nested " .. j, function(v)
    if is_reference then return body(v[given], v[j], v.state) end
    return f(v[given], v[j], v.state)
  end, values[returned]
end
local function repeats(t, v)  -- whether eager mode refuses to write it
  return t and v and not pcall(function() t:copy_(t) end)
end
function generate(instructions, values, wanted, text, depth)
  local made = 0
  while made < wanted do
    local i = below(#values) + 1
    local name = below(12) == 0 and "nested" or pick(names)
    local before = #text
    local what, instruction, result = makers[name](values[i], i, values, text, depth)
    local writes = name == "add" or name == "mul" or name == "assign" or name == "accumulate" or
                   name == "turned" or name == "shifted" or name == "index_copy" or name == "reduce"
    if what and not (writes and repeats(values[i], true)) then
      if name ~= "nested" then result = instruction(values) end  -- it was carried out while it was made
      instructions[#instructions + 1] = instruction
      text[#text + 1] = what .. " of " .. i
      if result then values[#values + 1] = result end
      made = made + 1
    else
      for k = #text, before + 1, -1 do text[k] = nil end
    end
  end
end

local policies = {
  {}, {}, { all_reduce = "one_shot" }, { all_reduce = "two_shot" }, { capture = false },
  { skip = { "fuse" } }, { lowering = "fallback" }, { skip = { "write_in_place" } }, { epilogues = true },
}
local shapes = { { 4, 6 }, { 2, 4, 3 }, { 6, 6 }, { 12 }, { 1, 4 } }
local function made(shape, offset)
  return (peri.arange(product(shape)):to "f32" + offset):reshape(unpack(shape))
end
local function elements(t) return table.concat(t:reshape(product(t:shape())):to "host":totable(), " ") end

for program = first_seed, first_seed + count - 1 do
  seed = program * 7919 % 2147483646 + 1
  for _ = 1, 3 do below(2) end
  local shape_a, shape_b, shape_c = pick(shapes), pick(shapes), pick(shapes)
  local dtype = pick { "f32", "f32", "i32" }
  local function arguments()
    local state = { count = 2, kept = made(shape_c, 3), list = { made({ 1 }, 1), made({ 1 }, 2) } }
    return { made(shape_a, peri.rank), made(shape_b, -10 * peri.rank):to(dtype) }, state
  end
  local captured, returned = made(shape_c, 5), {}
  local box = { captured = captured }
  local instructions, text = {}, {}
  number, is_reference = 1, true
  local values, state = arguments()
  values[3], values.state, values.number = captured, state, number
  generate(instructions, values, 3 + below(10), text, 1)
  for _ = 1, 2 do returned[#returned + 1] = below(#values) + 1 end
  local function body(x, y, s)
    local v = { x, y, program % 3 == 0 and box.captured or captured, state = s, number = number }
    run(instructions, v)
    local results = {}
    for k, i in ipairs(returned) do results[k] = v[i] * 1 end
    return results
  end
  local compiled = peri.compile(body, { policy = pick(policies) })
  -- What the caller sees after a call: results, arguments, the table's fields, the captured tensor.
  local function seen_after(f)
    if program % 2 == 0 then captured = made(shape_c, 5) else captured:copy_(made(shape_c, 5)) end
    box.captured = captured
    local given, table_given = arguments()
    local results = f(given[1], given[2], table_given)
    local seen = { table_given.count }
    for _, list in ipairs { results, given, { captured, table_given.kept }, table_given.list } do
      for _, t in ipairs(list) do seen[#seen + 1] = elements(t) end
    end
    return seen
  end
  for call = 1, program % 2 == 0 and 3 or 2 do
    number, is_reference = program % 5 == 0 and call or 1, true
    local wanted = seen_after(body)
    is_reference = false
    local ok, got = pcall(seen_after, compiled)
    local function sizes(shape) return table.concat(shape, ",") end
    local source = string.format("seed %d: [%s] [%s] [%s]\n%s", program, sizes(shape_a), sizes(shape_b),
                                 sizes(shape_c), table.concat(text, "\n"))
    if not ok then error(source .. "\n" .. tostring(got)) end
    for k = 1, #wanted do
      local text_of = "%s\ncall %d, value %d (returned: %s)\nwanted %s\ngot    %s\n%s"
      assert(wanted[k] == got[k],
             string.format(text_of, source, call, k, sizes(returned), wanted[k], got[k], compiled:graph()))
    end
  end
end
