-- run: peri run $FILE && peri run -n 2 $FILE && bash manual_commands $TMP
-- within: 60
-- Every public name has a page. Every page fits on a screen, names pages that exist, and shows what its examples
-- print. The stubs, made from the same pages, are compared with the live tables in stubs.lua.
local peri = require "peri"

local complaints = {}
local function expect(holds, ...)
  if not holds then complaints[#complaints + 1] = table.concat({ ... }) end
end

local function split(text)
  local lines = {}
  for line in (text .. "\n"):gmatch "(.-)\n" do lines[#lines + 1] = line end
  return lines
end

-- The pages' names: those of the index and the ops.
local names = {}
for _, list in ipairs { "index", "ops" } do
  for line in peri.help(list):gmatch "\n        ([^\n]+)" do
    line = line:gsub("^in Lua .*", ""):gsub("^%w+  +", "")
    for name in line:gmatch "%S+" do names[#names + 1] = name end
  end
end
assert(#names > 100, #names)

-- "[0-1] text" for rank 1, or text without a rank.
local function shown_to(rank, line)
  local first, last, rest = line:match "^%[(%d+)%-?(%d*)%] ?(.*)$"
  if not first then return peri.world_size == 1 and line or nil end
  last = last == "" and first or last
  return rank >= tonumber(first) and rank <= tonumber(last) and rest or nil
end

-- Runs an example as a script of its own, and compares what it prints; "..." is any text.
local function run_example(page, code, shown)
  local printed = {}
  local function print_line(...)
    local texts = { ... }
    for i = 1, select("#", ...) do texts[i] = tostring(texts[i]) end
    for _, line in ipairs(split(table.concat(texts, "\t"))) do printed[#printed + 1] = line end
  end
  local environment = setmetatable({ print = print_line, peri = peri }, { __index = _G })
  local chunk = assert(load(table.concat(code, "\n"), "=example", "t", environment))
  local ok, problem = pcall(chunk)
  expect(ok, page, ": the example fails: ", tostring(problem))
  local wanted = {}
  for _, line in ipairs(shown) do
    local text = shown_to(peri.rank, line)
    if text then wanted[#wanted + 1] = text end
  end
  local got, pattern = table.concat(printed, "\n"), table.concat(wanted, "\n")
  pattern = "^" .. pattern:gsub("[%^%$%(%)%%%.%[%]%+%-%?%*]", "%%%0"):gsub("%%%.%%%.%%%.", ".*") .. "$"
  expect(got:find(pattern), page, " shows:\n", table.concat(wanted, "\n"), "\nits example prints:\n", got)
end

-- A page's example: its lines and what it shows, and for how many ranks it is.
local function examples(page)
  local list, current = {}, nil
  for _, line in ipairs(split(page)) do
    local ranks = line:match "^    Example, (%d+) ranks:$" or line == "    Example:" and "1"
    if ranks then
      current = { ranks = tonumber(ranks), code = {}, shown = {} }
      current.into = current.code
      list[#list + 1] = current
    elseif line == "    prints:" and current then
      current.into = current.shown
    elseif current and line:find "^        " then
      current.into[#current.into + 1] = line:sub(9)
    elseif current and line ~= "" then
      current = nil
    elseif current and current.into == current.code then
      current.code[#current.code + 1] = ""
    end
  end
  return list
end

-- Every public name.
local function algorithm(op)
  for name in pairs(op) do
    expect(peri.help "op_context":find("\n    " .. name .. " "), name, " is no field on the page op_context")
  end
end
local f = peri.compile(function(x) return peri.all_reduce(x) end, { policy = { all_reduce = algorithm } })
f(peri.ones { 2 })
for name in pairs(peri) do expect(pcall(peri.help, "peri." .. name), name, " has no page") end
for name in pairs(peri.symm) do expect(pcall(peri.help, "peri.symm." .. name), name, " has no page") end
for name in pairs(peri.methods) do expect(pcall(peri.help, "x:" .. name), name, " has no page") end
for name in pairs(f:stats()) do
  expect(peri.help "stats":find("\n    " .. name .. " "), name, " is no figure on the page stats")
end

local count = 0
for _, name in ipairs(names) do
  local page = peri.help(name)
  for _, example in ipairs(examples(page)) do
    if example.ranks == peri.world_size then
      run_example(name, example.code, example.shown)
      count = count + 1
    end
  end
  local lines = split(page)
  expect(#lines <= 46, name, " has ", #lines, " lines")
  for _, line in ipairs(lines) do expect(#line <= 100, name, " has a line of ", #line, ": ", line) end
  for list in page:gmatch "See also: ([^.]*)%." do
    for other in list:gmatch "[%w_-]+" do expect(pcall(peri.help, other), name, " names ", other) end
  end
  for other in page:gmatch "`peri help ([%l_.:-]+)`" do
    expect(pcall(peri.help, other), name, " names ", other)
  end
end
expect(count > (peri.world_size == 1 and 30 or 8), "only ", count, " examples")

assert(#complaints == 0, "\n" .. table.concat(complaints, "\n"))
