-- A plan of Perilune's: run it with `peri run`, read it, edit it. rt.view(buffer, shape, strides, offset) is a window; its
-- strides and offset count elements, and the offset is 0 at the buffer's first. Dimensions count from 1, ranks from 0.
local rt = require "peri.runtime"

return rt.program{
  inputs = {"f32[4,8]"},
  constants = {},
  run = function(arg, const)
    local buf0 = rt.empty_strided_p2p({4, 8}, {8, 1}, "f32", {0, 1, 2, 3})
    local buf1 = rt.empty_strided({4, 8}, {8, 1}, "f32")
    rt.fused_out({arg[1]}, {buf0, buf1}, {operands = {"f32"}, "exp f32 1", "sigmoid f32 2", results = {2, 3}})  -- model.lua:2
    local buf2 = rt.empty_strided({4, 8}, {8, 1}, "f32")
    rt.all_reduce_out(buf0, buf2, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:3
    local buf3 = rt.empty_strided({4, 8}, {8, 1}, "f32")
    rt.all_reduce_out(buf0, buf3, {reduce = "sum", group = {0, 1, 2, 3}, algorithm = "one_shot"})  -- model.lua:4
    local buf4 = rt.empty_strided({4, 8}, {8, 1}, "f32")
    rt.all_reduce_out(buf0, buf4, {reduce = "sum", group = {0, 1, 2, 3}, algorithm = "one_shot"})  -- model.lua:5
    rt.free(buf0)
    local buf5 = rt.reuse(buf2, {4, 8}, {8, 1}, "f32")
    rt.fused_out({buf2, buf3, buf4}, {buf5}, {operands = {"f32", "f32", "f32"}, "add f32 1 2", "add f32 4 3", results = {5}})  -- model.lua:7
    rt.free(buf3)
    local buf6 = rt.empty_strided_p2p({4, 8}, {8, 1}, "f32", {0, 1})
    rt.contiguous_out(buf1, buf6)  -- model.lua:8
    local buf7 = rt.reuse(buf4, {4, 8}, {8, 1}, "f32")
    rt.all_reduce_out(buf6, buf7, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:8
    rt.free(buf6)
    return {buf5, buf7, buf1}
  end,
}
