-- A plan of Perilune's: run it with `peri run`, read it, edit it. rt.view(buffer, shape, strides, offset) is a window; its
-- strides and offset count elements, and the offset is 0 at the buffer's first. Dimensions count from 1, ranks from 0.
local rt = require "peri.runtime"

return rt.program{
  inputs = {"f32[4,4]"},
  constants = {},
  run = function(arg, const)
    local buf0 = rt.empty_strided_p2p({4, 4}, {4, 1}, "f32", {0, 1})
    local buf1 = rt.empty_strided_p2p({4, 4}, {4, 1}, "f32", {0, 1})
    local buf2 = rt.empty_strided_p2p({4, 4}, {4, 1}, "f32", {0, 1})
    rt.fused_out({arg[1]}, {buf0, buf1, buf2}, {operands = {"f32"}, "full f32 1", "add f32 1 2", "full f32 2", "add f32 1 4", "full f32 3", "add f32 1 6", results = {3, 5, 7}})  -- model.lua:6
    local buf3 = rt.empty_strided({4, 4}, {4, 1}, "f32")
    rt.all_reduce_out(buf0, buf3, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:7
    rt.free(buf0)
    local buf4 = rt.empty_strided({4, 4}, {4, 1}, "f32")
    rt.all_reduce_out(buf1, buf4, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:8
    rt.free(buf1)
    local buf5 = rt.empty_strided({4, 4}, {4, 1}, "f32")
    rt.all_reduce_out(buf2, buf5, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:9
    local buf6 = rt.reuse(buf2, {4, 4}, {4, 1}, "f32")
    rt.fused_out({buf3, buf4, buf5}, {buf6}, {operands = {"f32", "f32", "f32"}, "add f32 1 2", "add f32 4 3", results = {5}})  -- model.lua:11
    rt.free(buf3)
    rt.free(buf4)
    local buf7 = rt.reuse(buf5, {4, 4}, {4, 1}, "f32")
    rt.all_reduce_out(buf6, buf7, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:12
    rt.free(buf6)
    return {buf7}
  end,
}
