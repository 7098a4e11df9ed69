-- run: peri run $FILE
-- stdout: 3.5000
-- stdout: [f32[]]
-- stdout: 7
-- stdout: [i64[]]
-- stdout:  1 2 3
-- stdout: [f32[3]]
-- stdout:  -1.0000  0.5000
-- stdout:   2.0000 10.2500
-- stdout: [f32[2,2]]
-- stdout:     inf   -inf    nan 2.5000
-- stdout: [f32[4], 1 nan, 2 inf]
-- stdout:   true false
-- stdout: [bool[2]]
-- stdout:  9007199254740993               -1
-- stdout: [i64[2]]
-- stdout: 1e-08 *
-- stdout:  1.0000 2.0000
-- stdout: [f32[2]]
-- stdout:  1.0000e-08 2.0000e+08
-- stdout: [f32[2]]
-- stdout:  0.1001 1.0000
-- stdout: [bf16[2]]
-- stdout: [f32[0,3]]
-- stdout:  1 1
-- stdout: [u8[2] on host]
-- stdout:  0 0
-- stdout: [f32[2], symmetric]
-- stdout: [symbolic f32[2,3]]
local peri = require "peri"
local function show(t) print(t) end
show(peri.tensor(3.5))
show(peri.arange(8)[-1])
show(peri.tensor { 1, 2, 3 })
show(peri.tensor { { -1, 0.5 }, { 2, 10.25 } })
show(peri.tensor { 1 / 0, -1 / 0, 0 / 0, 2.5 })
show(peri.tensor { true, false })
show(peri.tensor({ 9007199254740992, -2 }, { dtype = "i64" }) + 1)
show(peri.tensor { 1e-8, 2e-8 })
show(peri.tensor { 1e-8, 2e8 })
show(peri.tensor({ 0.1, 1 }, { dtype = "bf16" }))
show(peri.zeros { 0, 3 })
show(peri.ones({ 2 }, { dtype = "u8" }):to "host")
show(peri.symm.empty { 2 })
peri.compile(function(x) show(x) return x end)(peri.ones { 2, 3 })
