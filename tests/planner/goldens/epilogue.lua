-- A plan of Perilune's: run it with `peri run`, read it, edit it. rt.view(buffer, shape, strides, offset) is a window; its
-- strides and offset count elements, and the offset is 0 at the buffer's first. Dimensions count from 1, ranks from 0.
local rt = require "peri.runtime"

return rt.program{
  inputs = {"f32[4,8]", "f32[4,8]"},
  constants = {"f32[8,8]", "f32[8]"},
  run = function(arg, const)
    local buf0 = rt.empty_strided_p2p({4, 8}, {8, 1}, "f32", {0, 1})
    rt.matmul_out(arg[1], const[1], buf0)  -- model.lua:1
    local buf1 = rt.empty_strided({4, 8}, {8, 1}, "f32")
    local buf2 = rt.empty_strided({4, 8}, {8, 1}, "f32")
    rt.all_reduce_out(buf0, arg[2], const[2], buf1, buf2, {reduce = "sum", group = {0, 1}, algorithm = "one_shot", epilogue = {operands = {"f32", "f32"}, "add f32 2 1", results = {3}}, rms_norm_eps = 1e-06})  -- model.lua:2
    rt.free(buf0)
    return {buf1, buf2}
  end,
}
