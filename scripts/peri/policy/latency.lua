-- Chooses what answers soonest: staged packets for small messages, one barrier for middling ones, parts for large ones.
return {
  all_reduce = function(op)
    if op.bytes <= 16 * 1024 then return "ll" end
    return op.bytes <= 256 * 1024 and "one_shot" or "two_shot"
  end,
}
