-- Checks programs printed by lua_corpus.py or train.py: how many ended, compile and run.
--
--     luajit scripts/train/check.lua [FILE] [show]      without FILE, or with -, reads stdin
--
-- A program starts after a line `===== LABEL STATUS`; STATUS is `ended` or `cut`. It is good when it ended
-- and compiles; a good one is then run, its output dropped, for at most ten million instructions. `show`
-- prints the programs that are not good or do not run. Exits with 1 when under 95 % of a label's programs
-- are good.

local path, show = arg[1] ~= "-" and arg[1] or nil, arg[2] == "show"
local hook_every, max_hooks = 10000, 1000
local wanted = 0.95

jit.off() -- count hooks are not called from compiled traces

local function sandbox()
  local env = {print = function() end}
  for _, name in ipairs({"assert", "error", "ipairs", "math", "next", "pairs", "pcall", "select",
                         "setmetatable", "string", "table", "tonumber", "tostring", "type", "unpack"}) do
    env[name] = _G[name]
  end
  return env
end

local function run(chunk)
  local steps = 0
  debug.sethook(function()
    steps = steps + 1
    if steps > max_hooks then
      error("ran too long")
    end
  end, "", hook_every)
  local ok, err = pcall(setfenv(chunk, sandbox()))
  debug.sethook()
  return ok, err
end

local counts, labels = {}, {}

local function check(label, status, text)
  local c = counts[label]
  if not c then
    c = {all = 0, ended = 0, good = 0, runs = 0}
    counts[label] = c
    labels[#labels + 1] = label
  end
  local ended = status == "ended"
  local chunk, err = loadstring(text, "=program")
  local good, runs = ended and chunk ~= nil, false
  if good then
    runs, err = run(chunk)
  end
  c.all = c.all + 1
  c.ended = c.ended + (ended and 1 or 0)
  c.good = c.good + (good and 1 or 0)
  c.runs = c.runs + (runs and 1 or 0)
  if show and not runs then
    print("===== " .. label .. " " .. status .. ": " .. tostring(err) .. "\n" .. text)
  end
end

local label, status, lines
for line in (path and io.lines(path) or io.lines()) do
  local l, s = line:match("^===== (%S+) (%S+)")
  if l then
    if lines then
      check(label, status, table.concat(lines, "\n") .. "\n")
    end
    label, status, lines = l, s, {}
  elseif lines then
    lines[#lines + 1] = line
  end
end
if lines then
  check(label, status, table.concat(lines, "\n") .. "\n")
end
local enough = #labels > 0
for _, l in ipairs(labels) do
  local c = counts[l]
  print(string.format("%s: %d programs, %d ended, %d ended and compile (%.1f %%), %d run",
                      l, c.all, c.ended, c.good, 100 * c.good / c.all, c.runs))
  enough = enough and c.good >= wanted * c.all
end
os.exit(enough and 0 or 1)
