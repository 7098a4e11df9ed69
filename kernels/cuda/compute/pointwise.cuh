// What generated pointwise kernels call: see pointwise.cpp, which writes their text.
#pragma once

#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

// The table's expression on registers of type T, as the register of the result's dtype E.
template <Op op, class E, class T>
Register<E> apply(T x, T y = T(0), T z = T(0)) {
  return round_to<E>(static_cast<Register<E>>(scalar::evaluate<op, T>(x, y, z)));
}
// `where`: the condition is a bool, the others share a dtype.
template <class E>
Register<E> choose(int64_t condition, Register<E> y, Register<E> z) {
  return scalar::evaluate<Op::where, Register<E>>(static_cast<Register<E>>(condition != 0), y, z);
}

}  // namespace peri::kernels::cuda
