-- What NCCL gives, against values worked out by hand, eagerly and from a graph. And `ll`, which is NCCL's
-- with PERI_P2P=0. Or, with "time", how long it takes beside ours; or another algorithm that all ops have.
--   peri run -n 2 --backend cuda tests/cuda/nccl.lua [time | ll]
local peri = require "peri"
local r, n = peri.rank, peri.world_size
local count, wrong = 0, 0

-- Element (i, j) of a rank's tensor with `width` columns, from 0: small, so that sums are exact everywhere.
local function value(rank, i, j, width) return ((i * width + j) * 7 + rank * 3) % 5 + 1 end

local function filled(dtype, rows, columns, f)
  local values = {}
  for i = 0, rows - 1 do
    for j = 0, columns - 1 do values[#values + 1] = f(i, j) end
  end
  return peri.tensor(values, { dtype = dtype }):reshape { rows, columns }
end

-- f on this rank's tensor is `expected`, when called and when replayed.
local function check(what, dtype, rows, columns, f, out_rows, out_columns, expected)
  local x = filled(dtype, rows, columns, function(i, j) return value(r, i, j, columns) end)
  local want = filled(dtype, out_rows, out_columns, expected)
  local compiled = peri.compile(f)
  for call, y in ipairs { f(x), compiled(x), (compiled(x)) } do
    count = count + 1
    local differ = y:ne(want):to "i32":sum():item()
    if differ > 0 then
      wrong = wrong + 1
      print(string.format("%s %s, call %d: %d elements differ", what, dtype, call, differ))
    end
  end
end

local function folded(reduce, i, j, width)
  local total = value(0, i, j, width)
  for k = 1, n - 1 do
    local v = value(k, i, j, width)
    total = reduce == "min" and math.min(total, v) or reduce == "max" and math.max(total, v)
            or reduce == "prod" and total * v or total + v
  end
  return reduce == "avg" and total / n or total
end

local function check_all(algorithm)
  for _, dtype in ipairs { "f32", "f16", "bf16", "i32", "i64", "u8" } do
    for _, reduce in ipairs { "sum", "avg", "min", "max", "prod" } do
      local exact = reduce ~= "prod" or n <= 2 or dtype == "f32" or dtype == "i32"
      if exact and (reduce ~= "avg" or (dtype:find "f" and (n == 2 or n == 4))) then
        check(algorithm .. " all_reduce " .. reduce, dtype, 37, 11,
              function(x) return x:all_reduce { reduce = reduce, algorithm = algorithm } end,
              37, 11, function(i, j) return folded(reduce, i, j, 11) end)
      end
    end
    check(algorithm .. " broadcast", dtype, 3, 5,
          function(x) return x:broadcast { root = n - 1, algorithm = algorithm } end,
          3, 5, function(i, j) return value(n - 1, i, j, 5) end)
    check(algorithm .. " reduce", dtype, 3, 5,
          function(x) return x:reduce { root = n - 1, algorithm = algorithm } end,
          3, 5, function(i, j) return r == n - 1 and folded("sum", i, j, 5) or value(r, i, j, 5) end)
    for dim = 1, 2 do
      local down, across = dim == 1 and n or 1, dim == 2 and n or 1
      check(algorithm .. " all_gather " .. dim, dtype, 3, 5,
            function(x) return x:all_gather { dim = dim, algorithm = algorithm } end,
            3 * down, 5 * across, function(i, j)
              return value(dim == 1 and math.floor(i / 3) or math.floor(j / 5), i % 3, j % 5, 5)
            end)
      check(algorithm .. " reduce_scatter " .. dim, dtype, 3 * down, 5 * across,
            function(x) return x:reduce_scatter { reduce = "sum", dim = dim, algorithm = algorithm } end,
            3, 5, function(i, j)
              return folded("sum", i + (dim == 1 and r * 3 or 0), j + (dim == 2 and r * 5 or 0), 5 * across)
            end)
      for to = 1, 2 do
        local width = dim == 2 and 5 * n or 5  -- the parts are 3 x 5
        check(algorithm .. " all_to_all " .. dim .. " to " .. to, dtype, 3 * down, width,
              function(x) return x:all_to_all { split_dim = dim, concat_dim = to, algorithm = algorithm } end,
              to == 1 and 3 * n or 3, to == 2 and 5 * n or 5, function(i, j)
                local from = to == 1 and math.floor(i / 3) or math.floor(j / 5)
                local row, column = dim == 1 and r * 3 or 0, dim == 2 and r * 5 or 0
                return value(from, i % 3 + row, j % 5 + column, width)
              end)
      end
    end
  end
end

-- Rank 0's operand moves, so that rank records again, alone.
local function check_moving(algorithm)
  local compiled = peri.compile(function(x) return x:all_reduce { algorithm = algorithm } + 1 end)
  local fixed, moving = peri.ones { 4096 }, {}
  for call = 1, 5 do
    moving[call] = peri.ones { 4096 }
    count = count + 1
    local sum = compiled(r == 0 and moving[call] or fixed):sum():item()
    if sum ~= 4096 * (n + 1) then
      wrong = wrong + 1
      print(string.format("%s, moved %d times: %g", algorithm, call - 1, sum))
    end
  end
end

local function microseconds(algorithm, kib)
  local x, chain, best = peri.randn({ kib * 512 }, { dtype = "bf16", seed = 1 + r }), 4, math.huge
  local f = peri.compile(function(t)
    for _ = 1, chain do t = peri.all_reduce(t, "avg") end
    return t
  end, { policy = { all_reduce = algorithm } })
  for _ = 1, 5 do
    f(x)
    peri.barrier()
    local start = peri.clock()
    for _ = 1, 5 do f(x) end
    best = math.min(best, (peri.clock() - start) / (5 * chain))
  end
  return best * 1e6
end

if arg[1] == "time" then
  local head = "%10s%12s%12s   us, all_reduce bf16, %d ranks"
  if r == 0 then print(head:format("KiB", "two_shot", "nccl", n)) end
  for _, kib in ipairs { 256, 1024, 4096, 16384, 65536 } do
    local ours, theirs = microseconds("two_shot", kib), microseconds("nccl", kib)
    if r == 0 then print(string.format("%10d%12.1f%12.1f", kib, ours, theirs)) end
  end
else
  for _, algorithm in ipairs { arg[1] or "nccl", not arg[1] and "ll" or nil } do
    check_all(algorithm)
    check_moving(algorithm)
  end
  peri.barrier()
  if r == 0 then print(string.format("%d results, %d wrong", count, wrong)) end
  assert(wrong == 0)
end
