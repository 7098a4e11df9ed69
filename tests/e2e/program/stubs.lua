-- run: peri help --stubs >$TMP/peri.lua && peri run $FILE $TMP/peri.lua
-- The editor stubs name every public function, method and field that there is, and no other; and they are Lua.
local peri = require "peri"
local path = ...
assert(loadfile(path))()
local stubs, class = {}, nil
local function add(name) stubs[name] = true end
for line in io.lines(path) do
  class = line:match "^%-%-%-@class ([%w_.]+)" or class
  local field = line:match "^%-%-%-@field ([%w_]+)"
  if field then add(class .. "." .. field) end
  local owner, name = line:match "^function ([%w_]+)[.:]([%w_]+)%("
  if owner then add(({ Tensor = "peri.Tensor", symm = "peri.symm", peri = "peri", File = "peri.File",
                       Compiled = "peri.Compiled" })[owner] .. "." .. name) end
end
local live = {}
for name in pairs(peri) do live["peri." .. name] = true end
for name in pairs(peri.symm) do live["peri.symm." .. name] = true end
for name in pairs(peri.methods) do live["peri.Tensor." .. name] = true end
local f = peri.compile(function(x) return x end)
local file = path .. ".safetensors"
peri.save(file, { x = peri.ones { 1 } })
for name in pairs(stubs) do
  local short = name:match "[%w_]+$"
  if name:find "^peri%.Compiled%." then assert(f[short], name) end
  if name:find "^peri%.File%." then assert(peri.load(file)[short], name) end
  if name:find "^peri%.Group%." then assert(peri.world[short], name) end
  if name:find "^peri%.Policy%." then
    local _, problem = pcall(peri.compile, print, { policy = { [short] = {} } })
    assert(not tostring(problem):find "unknown policy field", name)
  end
end
for name in pairs(live) do assert(stubs[name], name .. " has no stub") end
for name in pairs(stubs) do
  local known = live[name] or name:find "^peri%.options%."
  known = known or name:find "^peri%.%u" and not name:find "^peri%.Tensor%."
  assert(known, name .. " is a stub of nothing")
end
