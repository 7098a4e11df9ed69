// embedding, index_select and gather, in units of 1 to 16 bytes. A number out of range reads as zeros (NaN
// for floats); no address outside the operands is ever formed.
#pragma once

#include "kernels/cuda/compute/copy.cuh"

namespace peri::kernels::cuda {

template <int rank>
struct Gather {
  Space<3, rank> space;  // operands out, index (elements), source without the dimension that is counted
  int64_t rows, row_stride;
  uint64_t missing[2];  // the bits of a missing unit
};

// One unit of the output per thread.
template <int bytes, class I, class Index, int rank>
void gather(const byte* source, const byte* index, byte* out, const Gather<rank>& s) {
  using U = Unit<bytes>;
  const Index i = global_thread<Index>();
  if (i >= static_cast<Index>(s.space.total)) return;
  int64_t at[3];
  s.space.locate(i, at);
  const int64_t row = load<I>(index, at[1]);
  U unit = *reinterpret_cast<const U*>(s.missing);
  if (row >= 0 && row < s.rows) unit = reinterpret_cast<const U*>(source)[at[2] + row * s.row_stride];
  reinterpret_cast<U*>(out)[at[0]] = unit;
}

}  // namespace peri::kernels::cuda
