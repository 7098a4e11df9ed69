#include "kernels/host/collectives/collective_reduce.hpp"

#include <algorithm>

#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/isa.hpp"

namespace peri::kernels::host {
namespace {

template <Reduce reduce, class T>
PERI_SCALAR T combine(T x, T y) {
  switch (reduce) {
    case Reduce::sum:
    case Reduce::avg:
      return scalar::evaluate<Op::add, T>(x, y);
    case Reduce::min:
      return scalar::minimum(x, y);
    case Reduce::max:
      return scalar::maximum(x, y);
    case Reduce::prod:
      return scalar::evaluate<Op::mul, T>(x, y);
  }
}

template <DType dtype, Reduce reduce>
struct Fold {
  using E = Element<dtype>;
  using Memory = typename E::Memory;
  using Register = typename E::Register;

  PERI_SCALAR static Register finish(Register sum, int members) {
    if constexpr (reduce == Reduce::avg) return sum / static_cast<Register>(members);
    return sum;
  }

  // The loops are elementwise, so that `out` being one of the sources does no harm: that is what ivdep
  // promises.
  template <int sources>
  PERI_SCALAR static void whole(Memory* out, const std::byte* const* in, int64_t count) {
    const Memory* s[sources];
    for (int k = 0; k < sources; ++k) s[k] = reinterpret_cast<const Memory*>(in[k]);
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
      Register sum = E::load(s[0][i]);
#pragma GCC unroll 4
      for (int k = 1; k < sources; ++k) sum = combine<reduce>(sum, Register(E::load(s[k][i])));
      out[i] = E::store(finish(sum, sources));
    }
  }

  PERI_SCALAR static void run(std::byte* to, const std::byte* const* in, int members, int64_t count) {
    auto* out = reinterpret_cast<Memory*>(to);
    if (members == 1) return whole<1>(out, in, count);
    if (members == 2) return whole<2>(out, in, count);
    if (members == 3) return whole<3>(out, in, count);
    if (members == 4) return whole<4>(out, in, count);
    for (int64_t at = 0; at < count; at += kTile) {
      Register sums[kTile];
      const int64_t length = std::min(kTile, count - at);
      auto* first = reinterpret_cast<const Memory*>(in[0]) + at;
      for (int64_t i = 0; i < length; ++i) sums[i] = E::load(first[i]);
      for (int k = 1; k < members; ++k) {
        auto* next = reinterpret_cast<const Memory*>(in[k]) + at;
        for (int64_t i = 0; i < length; ++i) sums[i] = combine<reduce>(sums[i], Register(E::load(next[i])));
      }
#pragma GCC ivdep
      for (int64_t i = 0; i < length; ++i) out[at + i] = E::store(finish(sums[i], members));
    }
  }
};

template <DType dtype>
ReduceArrays of_dtype(Reduce reduce) {
  switch (reduce) {
    case Reduce::sum:
      return for_this_cpu<Fold<dtype, Reduce::sum>>();
    case Reduce::avg:
      if constexpr (is_float(dtype)) return for_this_cpu<Fold<dtype, Reduce::avg>>();
      return nullptr;
    case Reduce::min:
      return for_this_cpu<Fold<dtype, Reduce::min>>();
    case Reduce::max:
      return for_this_cpu<Fold<dtype, Reduce::max>>();
    case Reduce::prod:
      return for_this_cpu<Fold<dtype, Reduce::prod>>();
  }
  return nullptr;
}

}  // namespace

ReduceArrays reduce_arrays(DType dtype, Reduce reduce) {
  return with_dtype(dtype, [reduce]<DType t>() -> ReduceArrays {
    if constexpr (t == DType::boolean)
      return nullptr;
    else
      return of_dtype<t>(reduce);
  });
}

}  // namespace peri::kernels::host
