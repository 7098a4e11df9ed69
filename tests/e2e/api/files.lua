-- run: peri run -n 3 $FILE $TMP/
-- Saved tensors come back bit for bit; a shard is this rank's part, alone or of a group.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local path = arg[1] .. "a" .. peri.rank .. ".safetensors"
local saved = { w = peri.randn({ 6, 9 }, { seed = 1 }), half = peri.randn({ 3 }, { dtype = "f16" }),
                empty = peri.zeros { 0, 4 },
                brain = peri.randn({ 2, 2 }, { dtype = "bf16" }), ids = peri.tensor({ 1, -2 },
                  { dtype = "i64" }),
                flags = peri.tensor { true, false }, bytes = peri.tensor({ 0, 255 }, { dtype = "u8" }),
                scalar = peri.tensor(0.1), view = peri.arange(6):reshape(2, 3):t(),
                  host = peri.ones { 2 }:to "host" }
peri.save(path, saved, { made = "by hand", ["a key"] = "ünïcode\n" })
local file = peri.load(path)
assert(file.metadata.made == "by hand" and file.metadata["a key"] == "ünïcode\n")
local names = {}
for _, name in ipairs(file.names and file:names()) do names[name] = true end
for name, t in pairs(saved) do
  assert(names[name], name)
  check.same(t:place() == "host" and t:to "device" or t, file:tensor(name), name)
end
local r = peri.rank
check.same(saved.w:slice(1, 2 * r + 1, 2 * r + 2), file:tensor("w", { shard = { 1 } }), "rows")
check.same(saved.w:slice(2, 3 * r + 1, 3 * r + 3), file:tensor("w", { shard = { 2, peri.world } }), "columns")
local pair = peri.group { 2, 0 }
if pair.index then
  check.same(saved.w:slice(1, 3 * pair.index + 1, 3 * pair.index + 3), file:tensor("w", { shard = { 1,
    pair } }), "of a pair")
end
if pair.index then
  check.raises("*: tensor 'w' of shape [6,9]: dimension 2 cannot be divided into 2 equal parts",
               file.tensor, file, "w", { shard = { 2, pair } })
end
check.raises("*: *.safetensors: no tensor 'scaler'\n   hint: did you mean 'scalar'?", file.tensor, file,
             "scaler")
check.raises("*: tensor: unknown option 'shrad'\n   hint: did you mean 'shard'?", file.tensor, file, "w",
             { shrad = { 1 } })
check.raises("*: nothere.safetensors: no such file", peri.load, "nothere.safetensors")
check.raises("*: save: tensors are named by strings", peri.save, path, { peri.ones { 1 } })
