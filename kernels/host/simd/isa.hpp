// Which instruction set the inner loops run on: the one binary holds them three times (baseline x86-64, AVX2,
// AVX-512) and takes the widest that the processor has. All three give the same bits, as they do the same
// IEEE operations in the same order. Chosen by hand rather than by target_clones, whose ifunc resolvers run
// before the sanitizers are ready.
#pragma once

namespace peri::kernels::host {

enum class Isa { baseline, avx2, avx512 };

// The widest that this processor has, or less after `limit_isa`.
Isa isa();
// For tests: kernels compiled from now on use at most `widest`.
void limit_isa(Isa widest);

namespace detail {

template <class Body, class Signature>
struct Versions;

// `flatten` inlines the whole of Body::run, so that it is compiled for the wrapper's target.
template <class Body, class... Args>
struct Versions<Body, void(Args...)> {
  [[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"), gnu::flatten]] static void
  avx512(Args... args) {
    Body::run(args...);
  }
  [[gnu::target("avx2"), gnu::flatten]] static void avx2(Args... args) { Body::run(args...); }
  [[gnu::flatten]] static void baseline(Args... args) { Body::run(args...); }
};

}  // namespace detail

// Body::run, a static function of plain arguments marked PERI_SCALAR, compiled for this processor.
template <class Body>
auto for_this_cpu() {
  using Versions = detail::Versions<Body, decltype(Body::run)>;
  switch (isa()) {
    case Isa::avx512:
      return &Versions::avx512;
    case Isa::avx2:
      return &Versions::avx2;
    case Isa::baseline:
      break;
  }
  return &Versions::baseline;
}

}  // namespace peri::kernels::host
