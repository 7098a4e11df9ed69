-- run: peri run -n 2 $FILE
-- A misspelt word of any kind is an error with the nearest one that exists.
require "peri"
local check = dofile(arg[0]:match "^(.-)[^/]*$" .. "../check.lua")
local function raises(wanted, text)
  local f = assert(load(text, "=x"))
  check.raises(wanted, f)
end
local x = "local peri = require 'peri' local x = peri.ones{2, 2} "
local function near(wanted, hint, text)
  raises("x:1: " .. wanted .. "\n   hint: did you mean '" .. hint .. "'?", x .. text)
end
near("unknown global 'pirnt'", "print", "pirnt(1)")
near("unknown field of peri 'all_reduec'", "all_reduce", "peri.all_reduec(x)")
near("unknown field of peri.symm 'one_shoot_all_reduce'",
     "one_shot_all_reduce", "peri.symm.one_shoot_all_reduce(x)")
near("unknown tensor method 'rleu'", "relu", "x:rleu()")
near("unknown field of a group 'sice'", "size", "return (peri.world.sice)")
near("sum: unknown option 'dim'", "dims", "x:sum{dim = 1}")
near("ones: unknown option 'dtyp'", "dtype", "peri.ones({1}, {dtyp = 'f32'})")
near("unknown dtype or place 'bf61'", "bf16", "x:to 'bf61'")
near("compile: unknown option 'polcy'", "policy", "peri.compile(print, {polcy = {}})")
near("unknown policy field 'lowring'", "lowering", "peri.compile(print, {policy = {lowring = 'fallback'}})")
near("unknown value of policy.lowering 'fallbak'", "fallback",
     "peri.compile(print, {policy = {lowering = 'fallbak'}})")
near("policy.all_reduce: unknown algorithm of all_reduce 'one_shoot'", "one_shot",
     "peri.compile(print, {policy = {all_reduce = 'one_shoot'}})")
near("all_reduce: unknown algorithm of all_reduce 'too_shot'", "two_shot",
     "x:all_reduce{algorithm = 'too_shot'}")
local function far(wanted, hint, text) raises("x:1: " .. wanted .. "\n   hint: " .. hint, x .. text) end
far("unknown field of peri 'qqqqqq'", "`peri help index` lists what there is", "peri.qqqqqq(x)")
far("unknown field of peri.symm 'qqqqqq'", "`peri help symm` lists what there is", "peri.symm.qqqqqq(x)")
far("unknown tensor method 'qqqqqq'", "`peri help ops` lists what there is", "x:qqqqqq()")
far("unknown policy field 'qqqqqq'", "`peri help policy` lists what there is",
    "peri.compile(print, {policy = {qqqqqq = 1}})")
far("unknown global 'qqqqqq'", "set it in the main chunk, or write 'local' where it is made", "qqqqqq(1)")
far("compile: unknown option 'qqqqqq'", "there is policy, group, check, plans",
    "peri.compile(print, {qqqqqq = 1})")
far("sum: unknown option 'qqqqqq'", "there is dims, keepdim", "x:sum{qqqqqq = 1}")
raises("x:1: no page 'qqqqqq'\n   hint: `peri help index` lists all pages", x .. "peri.help 'qqqqqq'")
near("no page 'compil'", "compile", "peri.help 'compil'")
near("no page 'p2p_alocs'", "p2p_allocs", "peri.help 'p2p_alocs'")
near("no page 'PERI_CHEK'", "PERI_CHECK", "peri.help 'PERI_CHEK'")
raises("x:1: ones: no such dtype: f23\n   hint: the dtypes are *", x .. "peri.ones({1}, {dtype = 'f23'})")
raises("x:1: all_reduce: no such reduction: sun\n   hint: the reductions are *", x .. "x:all_reduce 'sun'")
raises("x:1: policy.lowering must be a string, not the number 1",
       x .. "peri.compile(print, {policy = {lowering = 1}})")
raises("x:1: policy.capture must be true or false, not the number 1",
       x .. "peri.compile(print, {policy = {capture = 1}})")
raises("x:1: unknown policy field 'fuse'\n   hint: write skip = {\"fuse\"} for fuse = false",
       x .. "peri.compile(print, {policy = {fuse = false}})")
raises("x:1: unknown policy field 'reuse'\n   hint: write planning = \"separate\" for reuse = false",
       x .. "peri.compile(print, {policy = {reuse = false}})")
raises("x:1: unknown value of policy.planning 'pool'*",
       x .. "peri.compile(print, {policy = {planning = 'pool'}})")
raises("*no pass is named \"fuze\"\n   hint: did you mean \"fuse\"?",
       x .. "peri.compile(function(y) return y end, {policy = {skip = {'fuze'}}})(x)")
local asked = "   asked about all_reduce at x:1\n   hint: did you mean '%s'?"
local function policy(answer)
  return x .. "local policy = {all_reduce = function(op) return " .. answer .. " end}" ..
         "peri.compile(function(y) return y:all_reduce() end, {policy = policy})(x)"
end
raises("x:1: policy.all_reduce: unknown field of the op that a policy is asked about 'byts'\n" ..
       asked:format "bytes",
       policy "op.byts")
raises("x:1: policy.all_reduce: unknown algorithm of all_reduce 'tow_shot'\n" ..
       asked:format "two_shot",
       policy "op.bytes > 1 and 'tow_shot'")
raises("x:1: assignment to undeclared global 'y'\n   hint: write 'local' in front of it*",
       "local function f() y = 1 end f()")
raises("x:1: mesh: axis 'dp' has size 3, and this world has 2 ranks", x .. "peri.mesh{dp = 3}")
raises("x:1: group: no rank 7; ranks are 0-based and this world has 2", x .. "peri.group{0, 7}")
raises("x:1: group: rank 0 is named twice", x .. "peri.group{0, 0}")
raises("x:1: all_reduce: group must be a group, not the number 3\n   hint: *", x .. "x:all_reduce{group = 3}")
raises("x:1: no page 'all_reduec'*did you mean 'all_reduce'?", x .. "peri.help 'all_reduec'")
