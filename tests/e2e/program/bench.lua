-- run: for bench in 'all_reduce -n 2' 'all_reduce -n 3' 'all_gather -n 3' 'broadcast -n 2' 'reduce -n 2'; do peri bench $bench --backend host --sizes 4096 98304 --rounds 1 --no-peer || exit; done >$TMP/tables && peri run $FILE $TMP/tables
-- stdout: all_reduce f32 over 2 ranks, host backend: us per call (bus GB/s), medians of 1 rounds
-- stdout: ll one_shot two_shot multimem_one_shot multimem
-- stdout: 4 KiB, 5 right
-- stdout: 96 KiB, 5 right
-- stdout: all_reduce f32 over 3 ranks, host backend: us per call (bus GB/s), medians of 1 rounds
-- stdout: ll one_shot two_shot multimem_one_shot multimem
-- stdout: 4 KiB, 5 right
-- stdout: 96 KiB, 5 right
-- stdout: all_gather f32 over 3 ranks, host backend: us per call (bus GB/s), medians of 1 rounds
-- stdout: ll one_shot multimem
-- stdout: 4 KiB, 3 right
-- stdout: 96 KiB, 3 right
-- stdout: broadcast f32 over 2 ranks, host backend: us per call (bus GB/s), medians of 1 rounds
-- stdout: ll one_shot
-- stdout: 4 KiB, 2 right
-- stdout: 96 KiB, 2 right
-- stdout: reduce f32 over 2 ranks, host backend: us per call (bus GB/s), medians of 1 rounds
-- stdout: ll one_shot
-- stdout: 4 KiB, 2 right
-- stdout: 96 KiB, 2 right
-- Every algorithm has a column, and a bandwidth that is its time's: bytes by nccl-tests' factor, as far as both are rounded.
local factors = {
  all_reduce = function(n) return 2 * (n - 1) / n end,
  all_gather = function(n) return (n - 1) / n end,
  broadcast = function() return 1 end,
  reduce = function() return 1 end,
}
local factor
for line in io.lines(arg[1]) do
  line = line:gsub("^%[0%] *", ""):gsub(" +", " ")
  local op, ranks = line:match "^([%a_]+) f32 over (%d+) ranks"
  local size = line:match "^(%d+) KiB"
  if op then factor = factors[op](tonumber(ranks)) end
  if size then
    local right = 0
    for time, bandwidth in line:gmatch "([%d.]+) %(([%d.]+)%)" do
      local moved = size * 1024 * factor / 1e3 -- microseconds by GB/s
      local low, high = moved / (time + 0.051), moved / math.max(time - 0.051, 1e-9)
      if bandwidth + 0.0051 >= low and bandwidth - 0.0051 <= high then right = right + 1 end
    end
    line = ("%s KiB, %d right"):format(size, right)
  end
  print(line)
end
