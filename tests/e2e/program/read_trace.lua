-- Reads a timeline with a small JSON parser: arguments are the file, how many ranks, and the bytes of its
-- all_reduces. Prints how many there are in the ranks' streams.
local file = assert(io.open(arg[1]))
local text = file:read "*a"
file:close()
local at = 1

local function skip(pattern)
  local _, stop = text:find("^%s*" .. pattern, at)
  if stop then at = stop + 1 end
  return stop ~= nil
end

local parse
local function members(close, one)
  if skip(close) then return end
  repeat one() until not skip ","
  assert(skip(close), "not closed at " .. at)
end

local function parse_string()
  local stop = at
  while text:sub(stop, stop) ~= '"' do stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1) end
  local value = text:sub(at, stop - 1)
  at = stop + 1
  return value
end

function parse()
  local value = {}
  if skip "{" then
    members("}", function()
      assert(skip '"', "no name at " .. at)
      local name = parse_string()
      assert(skip ":", "no value at " .. at)
      value[name] = parse()
    end)
    return value
  elseif skip "%[" then
    members("%]", function() value[#value + 1] = parse() end)
    return value
  elseif skip '"' then
    return parse_string()
  end
  local number = assert(text:match("^%s*(-?%d+%.?%d*[eE]?[-+]?%d*)", at), "no value at " .. at)
  assert(skip "-?%d+%.?%d*[eE]?[-+]?%d*")
  return tonumber(number)
end

local trace = parse()
assert(skip "$", "text behind the end")
local names, lanes, collectives = {}, {}, 0
for _, event in ipairs(trace.traceEvents) do
  if event.name == "process_name" then names[#names + 1] = event.args.name end
  if event.name == "thread_name" then lanes[#lanes + 1] = event.args.name end
  if event.ph == "X" and event.name == "all_reduce" and event.tid == 2 then
    collectives = collectives + 1
    assert(event.cat == "collective" and event.dur > 0 and event.ts > 0)
    assert(event.args.bytes == tonumber(arg[3]), "bytes: " .. event.args.bytes)
    assert(event.args.at:match "^trace.*%.lua:%d+$", event.args.at)
  end
end
assert(#lanes == 2 * #names and #names == tonumber(arg[2]), table.concat(names, ", "))
for i, name in ipairs(names) do
  assert(#names == 1 or name:match("^rank " .. i - 1 .. " %(.+%)$"), name)
end
print(string.format("%d ranks, %d all_reduce of %d bytes", #names, collectives, arg[3]))
