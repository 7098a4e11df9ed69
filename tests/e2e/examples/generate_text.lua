-- run: for n in 1 2 4; do peri run -n $n ../../../scripts/examples/generate.lua "$(peri run $FILE prompt)" >$TMP/text && sed -i 's/^\[0\] //' $TMP/text && peri run $FILE compare $TMP/text; done
-- within: 15
-- stdout: the same text
-- stdout: the same text
-- stdout: the same text
-- stderr: 122 bytes, * tokens per second on 1 rank
-- stderr: [0] 122 bytes, * tokens per second on 2 ranks
-- stderr: [0] 122 bytes, * tokens per second on 4 ranks
-- 1, 2 and 4 ranks continue a prompt with the text that PyTorch's weights gave (scripts/train/README.md).
local known = require "peri".load("../../data/lua_logits.safetensors").metadata
if arg[1] == "prompt" then io.write(known.prompt) return end
assert(io.open(arg[2]):read "*a" == known.prompt .. known.completion .. "\n")
print "the same text"
