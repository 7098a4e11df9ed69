-- Chooses what answers soonest: what is pushed through the workspace, then a part for each rank. The limits
-- are those that were measured, in bytes, as the planner's own (planner/passes/select.cpp): a policy to begin
-- with.
local limits = { host = 4 * 1024, cuda = 256 * 1024, cuda_floats = 4 * 1024 * 1024 }

return {
  all_reduce = function(op)
    local is_float = op.dtype:find "f" ~= nil
    local up_to = limits[op.machine == "cuda" and is_float and "cuda_floats" or op.machine]
    return op.bytes <= up_to and "ll" or "two_shot"
  end,
}
