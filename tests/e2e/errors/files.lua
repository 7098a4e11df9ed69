-- run: peri run $FILE $TMP/a.safetensors
-- Safetensors files that are cut off, lie or are none (tests/bindings/safetensors_test.cpp has many more).
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local path = arg[1]
local function write(bytes)
  local file = io.open(path, "wb")
  file:write(bytes)
  file:close()
end
local function raises(wanted, bytes, header)
  local size = header or #bytes
  local field = string.rep("\0", 8)
  for i = 7, 0, -1 do field = string.char(math.floor(size / 256 ^ i) % 256) .. field:sub(1, 7) end
  write(field .. bytes)
  check.raises("files.lua:*: " .. path .. ": " .. wanted, function()
    local loaded = peri.load(path)
    return loaded
  end)
end
local function tensor(fields) return '{"x":{' .. fields .. "}}" end
raises("the header is not JSON (at byte *", "not json")
raises("its header is said to have 99 bytes, and only 2 follow", "{}", 99)
raises("its header is said to have 100000001 bytes; at most 100000000 are allowed", "{}", 100000001)
raises("tensor 'x': data_offsets [0,8] end past the file (0 bytes of data)",
       tensor '"dtype":"F32","shape":[2],"data_offsets":[0,8]')
raises("tensor 'x': dtype 'F99' is not supported*", tensor '"dtype":"F99","shape":[2],"data_offsets":[0,8]')
raises("tensor 'x': dtype is missing", tensor "")
raises("*a number", '{"x":1}')
peri.save(path, { x = peri.ones { 100 } })
local whole = io.open(path, "rb"):read "*a"
write(whole:sub(1, -2))
check.raises("*: tensor 'x': data_offsets [0,400] end past the file (399 bytes of data)", peri.load, path)
write(whole)
local file = peri.load(path)
write(whole:sub(1, 50))
check.raises("*: it has become shorter since it was opened (it had * bytes)", file.tensor, file, "x")
