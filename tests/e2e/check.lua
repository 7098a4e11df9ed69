-- What the cases share: bit-equal tensors, programs run both ways, and errors with their whole text.
local peri = require "peri"
local check = {}

-- The same dtype, shape, place and elements (NaN equals NaN).
function check.same(a, b, what)
  local function plain(t) return t:place() == "host" and t:to "device" or t end
  assert(a:dtype() == b:dtype() and table.concat(a:shape(), ",") == table.concat(b:shape(), ",")
         and a:place() == b:place(), what .. ": another type")
  a, b = plain(a), plain(b)
  local differ = a:ne(b)
  if a:dtype():find "^b?f" then
    differ = differ:logical_and(a:isnan():logical_and(b:isnan()):logical_not())
  end
  local count = differ:to "i32":sum():item()
  assert(count == 0, what .. ": " .. count .. " elements differ\n" .. tostring(a) .. "\n" .. tostring(b))
end

-- The elements of a tensor, in order, are these numbers.
function check.is(t, ...)
  local wanted, got = { ... }, t:to "f32":to "host":reshape(t:numel()):totable()
  assert(#wanted == #got, #got .. " elements, wanted " .. #wanted)
  for i = 1, #wanted do
    assert(wanted[i] == got[i], string.format("element %d is %g, wanted %g", i, got[i], wanted[i]))
  end
end

-- f gives the same bits eagerly and compiled, on the first call and on replays. Returns the compiled function.
function check.both(what, f, inputs, options)
  local compiled, eager = peri.compile(f, options), { f(unpack(inputs)) }
  for call = 1, 3 do
    local results = { compiled(unpack(inputs)) }
    assert(#results == #eager, what .. ": number of results")
    for i = 1, #eager do check.same(eager[i], results[i], what .. ", result " .. i .. ", call " .. call) end
  end
  return compiled
end

-- f raises an error whose text, without the folder of its file, is this; * stands for any text.
function check.raises(wanted, f, ...)
  local ok, problem = pcall(f, ...)
  assert(not ok, "no error, wanted: " .. wanted)
  local pattern = "^" .. wanted:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
  assert(tostring(problem):find(pattern), "wanted: " .. wanted .. "\n   got: " .. tostring(problem))
end

return check
