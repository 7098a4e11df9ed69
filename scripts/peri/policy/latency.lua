-- Chooses what answers soonest: small operands are pushed through the workspace, larger ones cut into parts.
-- A policy to begin with.
return {
  all_reduce = function(op) return op.bytes <= op.ll_bytes and "ll" or "two_shot" end,
}
