// What reads and what writes by number share: the numbers, and slices.
#pragma once

#include <utility>

#include "kernels/compute/space.hpp"

namespace peri::kernels::host {

// The indices of an i32 or i64 operand, in logical order.
class Indices {
 public:
  explicit Indices(const OperandType& type)
      : space_(simplified({type.view.shape, {type.view.strides}})), is_wide_(type.dtype == DType::i64) {}

  int64_t count() const { return space_.total(); }
  int64_t at(const std::byte* data, int64_t i) const {
    const int64_t offset = space_.shape.rank() == 1 ? i * space_.strides[0][0] : space_.offset(0, i);
    return is_wide_ ? reinterpret_cast<const int64_t*>(data)[offset]
                    : reinterpret_cast<const int32_t*>(data)[offset];
  }

 private:
  Space space_;
  bool is_wide_;
};

// A view without one dimension: a slice of it.
inline View without(const View& view, int dim) {
  View slice = view;
  slice.shape.erase(dim);
  slice.strides.erase(dim);
  return slice;
}

}  // namespace peri::kernels::host
