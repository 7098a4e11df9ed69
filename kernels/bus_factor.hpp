// How the bandwidth of a collective is counted, after nccl-tests: bytes over time, times the share of them
// that must cross a link, so that one number can be held against the hardware's whatever the op and group.
#pragma once

#include "core/ops/op.hpp"

namespace peri::kernels {

inline double bus_factor(Op op, int ranks) {
  if (op == Op::broadcast || op == Op::send || op == Op::recv) return 1;
  const double share = static_cast<double>(ranks - 1) / ranks;
  return op == Op::all_reduce ? 2 * share : share;
}

}  // namespace peri::kernels
