-- Chooses what answers soonest: staged packets for small messages, then every operand read whole, then a part
-- for each rank. The limits are those that were measured, in bytes.
local limits = { host = { ll = 4096, one_shot = 4096 }, cuda = { ll = 256 * 1024, one_shot = 512 * 1024 } }

return {
  all_reduce = function(op)
    local up_to = limits[op.machine]
    if op.bytes <= up_to.ll then return "ll" end
    return op.bytes <= up_to.one_shot and "one_shot" or "two_shot"
  end,
}
