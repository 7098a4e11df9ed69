// Rotary position embedding: element j and its partner j + d/2 are rotated by the angle position *
// base^(-2j/d). One pair per thread. In double up to the reduction to one turn, so that large positions lose
// nothing.
#pragma once

#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

template <int rank>
struct Rope {
  Space<4, rank> pairs;  // operands out, in, positions, frequencies
  int64_t out_half, in_half;
};

template <class E, class I, class Index, int rank>
void rope(const byte* x, const byte* positions, const byte* frequencies, byte* y, const Rope<rank>& r) {
  const Index i = global_thread<Index>();
  if (i >= static_cast<Index>(r.pairs.total)) return;
  int64_t at[4];
  r.pairs.locate(i, at);
  const double reduced = scalar::within_one_turn(static_cast<double>(load<I>(positions, at[2])) *
                                                 reinterpret_cast<const double*>(frequencies)[at[3]]);
  const float cosine = scalar::sine_of_quarters(reduced, 1), sine = scalar::sine_of_quarters(reduced, 0);
  const float first = load<E>(x, at[1]), second = load<E>(x, at[1] + r.in_half);
  store<E>(y, at[0], first * cosine - second * sine);
  store<E>(y, at[0] + r.out_half, second * cosine + first * sine);
}

}  // namespace peri::kernels::cuda
