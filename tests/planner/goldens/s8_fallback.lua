-- A plan of Perilune's: run it with `peri run`, read it, edit it. rt.view(buffer, shape, strides, offset) is a window; its
-- strides and offset count elements, and the offset is 0 at the buffer's first. Dimensions count from 1, ranks from 0.
local rt = require "peri.runtime"

return rt.program{
  inputs = {"bf16[128,4096]"},
  constants = {"bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]", "bf16[4096,4096]"},
  run = function(arg, const)
    local buf0 = rt.empty_strided_p2p({128, 4096}, {4096, 1}, "bf16", {0, 1})
    rt.matmul_out(arg[1], const[1], buf0)  -- model.lua:1
    local buf1 = rt.all_reduce(buf0, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"}); local buf2 = buf1[1]  -- model.lua:2
    local buf3 = rt.reuse(buf0, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf2, const[2], buf3)  -- model.lua:3
    rt.free(buf2)
    local buf4 = rt.all_reduce(buf3, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"}); local buf5 = buf4[1]  -- model.lua:4
    local buf6 = rt.reuse(buf3, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf5, const[3], buf6)  -- model.lua:5
    rt.free(buf5)
    local buf7 = rt.all_reduce(buf6, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"}); local buf8 = buf7[1]  -- model.lua:6
    local buf9 = rt.reuse(buf6, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf8, const[4], buf9)  -- model.lua:7
    rt.free(buf8)
    local buf10 = rt.all_reduce(buf9, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"}); local buf11 = buf10[1]  -- model.lua:8
    local buf12 = rt.reuse(buf9, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf11, const[5], buf12)  -- model.lua:9
    rt.free(buf11)
    local buf13 = rt.all_reduce(buf12, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"}); local buf14 = buf13[1]  -- model.lua:10
    local buf15 = rt.reuse(buf12, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf14, const[6], buf15)  -- model.lua:11
    rt.free(buf14)
    local buf16 = rt.all_reduce(buf15, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"}); local buf17 = buf16[1]  -- model.lua:12
    local buf18 = rt.reuse(buf15, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf17, const[7], buf18)  -- model.lua:13
    rt.free(buf17)
    local buf19 = rt.all_reduce(buf18, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"}); local buf20 = buf19[1]  -- model.lua:14
    local buf21 = rt.reuse(buf18, {128, 4096}, {4096, 1}, "bf16")
    rt.matmul_out(buf20, const[8], buf21)  -- model.lua:15
    rt.free(buf20)
    local buf22 = rt.all_reduce(buf21, {reduce = "sum", group = {0, 1}, algorithm = "one_shot"}); local buf23 = buf22[1]  -- model.lua:16
    rt.free(buf21)
    return {buf23}
  end,
}
