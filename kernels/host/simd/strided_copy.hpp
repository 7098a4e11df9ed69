// Copies between strided windows of the same shape and element size.
#pragma once

#include <cstddef>

#include "kernels/compute/space.hpp"

namespace peri::kernels::host {

// Calls f.operator()<T>() with the unsigned integer of `bytes` bytes.
template <class F>
void with_bytes(int64_t bytes, F&& f) {
  switch (bytes) {
    case 1:
      return f.template operator()<uint8_t>();
    case 2:
      return f.template operator()<uint16_t>();
    case 4:
      return f.template operator()<uint32_t>();
    default:
      return f.template operator()<uint64_t>();
  }
}

class StridedCopy {
 public:
  StridedCopy() = default;
  // `bytes` per element: 1, 2, 4 or 8.
  StridedCopy(const Shape& shape, const Strides& from, const Strides& to, int64_t bytes);

  // The windows do not overlap. On the caller's thread, or on all if it is large.
  void run(const std::byte* from, std::byte* to) const { run_range(from, to, 0, units_); }
  void run_parallel(const std::byte* from, std::byte* to) const;

 private:
  void run_range(const std::byte* from, std::byte* to, int64_t begin, int64_t end) const;

  Space space_;  // operands to, from
  int64_t bytes_ = 1;
  int64_t units_ = 0;  // what a range counts: elements, or squares of a transposition
  // A transposition is copied in squares, so that each cache line is read once: `space_` loses the dimension
  // along which `from` is contiguous, of `rows_` elements, and the innermost one, of `columns_`, along which
  // `to` is.
  bool transposes_ = false;
  int64_t rows_ = 0, columns_ = 0, row_stride_to_ = 0, column_stride_from_ = 0;
};

}  // namespace peri::kernels::host
