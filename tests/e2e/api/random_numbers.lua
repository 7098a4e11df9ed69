-- run: for seed in none 7 8; do peri run $FILE $seed >$TMP/$seed && peri run $FILE $seed | cmp - $TMP/$seed; done
-- run: cd $TMP; for a in *; do for b in *; do cmp -s $a $b && echo $a = $b; done; done
-- run: cd $OLDPWD; peri run -n 2 $FILE 7 | sed 's/^.0. //' | cmp - $TMP/7 && echo rank 0 of two, as rank 0 of one
-- stdout: 7 = 7
-- stdout: 8 = 8
-- stdout: none = none
-- stdout: rank 0 of two, as rank 0 of one
-- Random tensors without a seed: other numbers at each call and on each rank, the same in each run of a program.
local peri = require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
if arg[1] ~= "none" then peri.seed(tonumber(arg[1])) end
local function text(t) return table.concat(t:totable(), " ") end

local seen = {}
local function note(t)
  local words = text(t)
  assert(not seen[words], words)
  seen[words] = true
  local sum, mine = peri.all_reduce(t), t * peri.world_size
  assert(peri.world_size == 1 or text(sum) ~= text(mine))
  if peri.rank == 0 then print(words) end
end
for _ = 1, 10 do
  note(peri.randn { 3 }) note(peri.rand { 3 }) note(peri.randn({ 3 }, nil, "f32"))
  note(peri.rand({ 3 }, { dtype = "f32" }))
end

-- With a seed as ever: the same on all ranks, in any order; a seed begins again.
check.same(peri.randn({ 4 }, { seed = 3 }), peri.randn({ 4 }, 3), "with a seed")
check.same(peri.all_reduce(peri.rand({ 4 }, 3)), peri.rand({ 4 }, 3) * peri.world_size, "on all ranks")
peri.seed(5)
local first, second = peri.randn { 2 }, peri.randn { 2 }
peri.seed(5)
check.same(first, peri.randn { 2 }, "begun again") check.same(second, peri.randn { 2 }, "and on")
assert(text(first) ~= text(second))
peri.seed(-1)

-- In a compiled function.
local x = peri.zeros { 2 }
check.is(peri.compile(function(t) return t + peri.randn({ 2 }, { seed = 1 }) end)(x),
         unpack(peri.randn({ 2 }, 1):totable()))
check.raises("*: randn: needs a seed inside a compiled function, as all of its calls would give the same " ..
             "numbers\n" ..
             "   hint: pass a seed, or make the tensor outside and pass it as an argument",
             peri.compile(function(t) return t + peri.randn { 2 } end), x)
check.raises("*: seed: a compiled function can't set the generator's seed\n   hint: call it outside",
             peri.compile(function(t) peri.seed(1) return t end), x)
check.raises("*: seed: the number must be a *", peri.seed, "x")
