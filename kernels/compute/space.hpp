// Iteration spaces: the shape that a kernel walks and each operand's strides over it, simplified once at
// compile time, and the walk over a range of it in runs along the innermost dimension.
#pragma once

#include <array>
#include <vector>

#include "core/ops/kernel.hpp"
#include "core/types/shape.hpp"

namespace peri::kernels {

struct Space {
  Shape shape;
  std::vector<Strides> strides;  // per operand, of shape's rank

  int64_t total() const { return numel(shape); }
  int64_t inner() const { return shape.rank() == 0 ? 1 : shape[shape.rank() - 1]; }
  int64_t inner_stride(int operand) const {
    return shape.rank() == 0 ? 0 : strides[operand][shape.rank() - 1];
  }
  bool is_contiguous(int operand) const { return peri::is_contiguous(shape, strides[operand]); }
  // Where element `index` (in row-major order of `shape`) of an operand lies, in elements.
  int64_t offset(int operand, int64_t index) const;
};

// Dimensions of size 1 dropped, and neighbours that every operand walks as one merged; the order of elements
// stays.
Space simplified(Space space);
// Also reorders dimensions so that the first operand's strides descend: for kernels that treat every element
// alike.
Space reordered(Space space);

// Calls body(done, count, offsets) for the runs of [begin, begin + total): `count` elements, each operand's
// inner_stride apart from its offset on, the first being the range's `done`-th.
template <size_t N, class Body>
void for_each_run(const Space& space, const std::array<int, N>& operands, int64_t begin, int64_t total,
                  Body&& body) {
  const Shape& shape = space.shape;
  const int last = shape.rank() - 1;
  std::array<int64_t, N> offsets{};
  if (total <= 0) return;
  if (last < 0) return body(int64_t(0), total, offsets);
  std::array<int64_t, kMaxRank> at;
  for (int64_t rest = begin, i = last; i >= 0; --i) {
    at[i] = rest % shape[i];
    rest /= shape[i];
    for (size_t n = 0; n < N; ++n) offsets[n] += at[i] * space.strides[operands[n]][i];
  }
  for (int64_t done = 0; done < total;) {
    const int64_t left = shape[last] - at[last], count = total - done < left ? total - done : left;
    body(done, count, offsets);
    done += count;
    at[last] += count;
    for (size_t n = 0; n < N; ++n) offsets[n] += count * space.strides[operands[n]][last];
    for (int i = last; i > 0 && at[i] == shape[i]; --i) {
      for (size_t n = 0; n < N; ++n) {
        const Strides& strides = space.strides[operands[n]];
        offsets[n] += strides[i - 1] - at[i] * strides[i];
      }
      at[i] = 0;
      ++at[i - 1];
    }
  }
}

// The same of one operand: body(done, count, offset).
template <class Body>
void for_each_run(const Space& space, int operand, int64_t begin, int64_t total, Body&& body) {
  for_each_run(space, std::array{operand}, begin, total,
               [&](int64_t done, int64_t count, const auto& offsets) { body(done, count, offsets[0]); });
}

}  // namespace peri::kernels
