-- A plan of Perilune's: run it with `peri run`, read it, edit it. rt.view(buffer, shape, strides, offset) is a window; its
-- strides and offset count elements, and the offset is 0 at the buffer's first. Dimensions count from 1, ranks from 0.
local rt = require "peri.runtime"

return rt.program{
  inputs = {"bf16[128,4096]"},
  constants = {"bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]"},
  run = function(arg, const)
    local buf0 = rt.empty_strided_p2p({128, 4096}, {4096, 1}, "bf16", {0, 1})
    rt.matmul_out(arg[1], const[1], buf0)  -- model.lua:1
    local buf1 = rt.empty_strided({128, 4096}, {4096, 1}, "bf16")
    rt.all_reduce_out(buf0, buf1, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:2
    local buf2 = rt.reuse(buf0, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf1, const[2], buf2)  -- model.lua:3
    local buf3 = rt.reuse(buf1, {128, 4096}, {4096, 1}, "bf16")
    rt.all_reduce_out(buf2, buf3, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:4
    local buf4 = rt.reuse(buf2, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf3, const[3], buf4)  -- model.lua:5
    local buf5 = rt.reuse(buf3, {128, 4096}, {4096, 1}, "bf16")
    rt.all_reduce_out(buf4, buf5, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:6
    local buf6 = rt.reuse(buf4, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf5, const[4], buf6)  -- model.lua:7
    local buf7 = rt.reuse(buf5, {128, 4096}, {4096, 1}, "bf16")
    rt.all_reduce_out(buf6, buf7, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:8
    local buf8 = rt.reuse(buf6, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf7, const[5], buf8)  -- model.lua:9
    local buf9 = rt.reuse(buf7, {128, 4096}, {4096, 1}, "bf16")
    rt.all_reduce_out(buf8, buf9, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:10
    local buf10 = rt.reuse(buf8, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf9, const[6], buf10)  -- model.lua:11
    local buf11 = rt.reuse(buf9, {128, 4096}, {4096, 1}, "bf16")
    rt.all_reduce_out(buf10, buf11, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:12
    local buf12 = rt.reuse(buf10, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf11, const[7], buf12)  -- model.lua:13
    local buf13 = rt.reuse(buf11, {128, 4096}, {4096, 1}, "bf16")
    rt.all_reduce_out(buf12, buf13, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:14
    local buf14 = rt.reuse(buf12, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf13, const[8], buf14)  -- model.lua:15
    local buf15 = rt.reuse(buf13, {128, 4096}, {4096, 1}, "bf16")
    rt.all_reduce_out(buf14, buf15, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"})  -- model.lua:16
    rt.free(buf14)
    return {buf15}
  end,
}
