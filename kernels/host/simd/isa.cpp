// Asks the processor once which instruction sets it has.
#include "kernels/host/simd/isa.hpp"

#include <algorithm>
#include <atomic>

namespace peri::kernels::host {
namespace {

Isa detect() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return Isa::avx512;
  return __builtin_cpu_supports("avx2") ? Isa::avx2 : Isa::baseline;
}

std::atomic<Isa> widest_allowed = Isa::avx512;

}  // namespace

Isa isa() {
  static const Isa detected = detect();
  return std::min(detected, widest_allowed.load(std::memory_order_relaxed));
}

void limit_isa(Isa widest) {
  widest_allowed.store(widest, std::memory_order_relaxed);
}

}  // namespace peri::kernels::host
