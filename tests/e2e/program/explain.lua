-- run: peri explain -n 2 $FILE --dot $TMP/g.dot && grep -c 'all_reduce' $TMP/g.dot && head -c 7 $TMP/g.dot
-- stdout: [0] == *explain.lua:*
-- stdout: *all_reduce at explain.lua:10 *one_shot: the policy's choice*
-- stdout: *partition*
-- stdout: 1
-- stdout: digraph
-- What was compiled and why, and the graph in DOT.
local peri = require "peri"
local f = peri.compile(function(x)
  local y = peri.all_reduce(x * 2)
  return y
end, { policy = { all_reduce = "one_shot" } })
f(peri.ones { 4 })
