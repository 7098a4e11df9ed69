-- A plan of Perilune's: run it with `peri run`, read it, edit it. rt.view(buffer, shape, strides, offset) is a window; its
-- strides and offset count elements, and the offset is 0 at the buffer's first. Dimensions count from 1, ranks from 0.
local rt = require "peri.runtime"

return rt.program{
  inputs = {"f32[4,8]"},
  constants = {},
  run = function(arg, const)
    local buf0 = rt.empty_strided_p2p({4, 8}, {8, 1}, "f32", {0, 1})
    rt.fused_out({arg[1]}, {buf0}, {operands = {"f32"}, "exp f32 1", results = {2}})  -- model.lua:1
    local buf1 = rt.empty_strided({2, 8}, {8, 1}, "f32")
    rt.all_reduce_out(rt.view(buf0, {2, 8}, {8, 1}, 16), buf1, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:3
    local buf2 = rt.reuse(buf1, {2, 8}, {8, 1}, "f32")
    rt.fused_out({buf1, rt.view(buf0, {2, 8}, {8, 1}, 0)}, {buf2}, {operands = {"f32", "f32"}, "add f32 1 2", results = {3}})  -- model.lua:5
    rt.free(buf0)
    return {buf2}
  end,
}
