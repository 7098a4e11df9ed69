// The three ways to copy: memcpy where both sides are contiguous, squares where one is the transpose of the
// other, else runs.
#include "kernels/host/simd/strided_copy.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/host/compute/threads.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGrainBytes = 128 * 1024;
constexpr int64_t kSide = 64;  // of a square, elements

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

template <class T>
void copy_run(const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride, int64_t count) {
  auto* source = reinterpret_cast<const T*>(from);
  auto* target = reinterpret_cast<T*>(to);
  if (from_stride == 0 && to_stride == 1)
    std::fill_n(target, count, *source);
  else
    for (int64_t i = 0; i < count; ++i) target[i * to_stride] = source[i * from_stride];
}

// Through a buffer, so that source and target are touched a whole cache line at a time: their strides are
// often powers of two, whose lines evict each other.
template <class T>
void copy_square(const std::byte* from, int64_t from_stride, std::byte* to, int64_t to_stride, int64_t rows,
                 int64_t columns) {
  auto* source = reinterpret_cast<const T*>(from);
  auto* target = reinterpret_cast<T*>(to);
  T square[kSide][kSide];
  for (int64_t c = 0; c < columns; ++c)
    for (int64_t r = 0; r < rows; ++r) square[r][c] = source[c * from_stride + r];
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(target + r * to_stride, square[r], static_cast<size_t>(columns) * sizeof(T));
}

}  // namespace

StridedCopy::StridedCopy(const Shape& shape, const Strides& from, const Strides& to, int64_t bytes)
    : space_(reordered({shape, {to, from}})), bytes_(bytes), units_(space_.total()) {
  const int last = space_.shape.rank() - 1;
  if (last < 1 || space_.strides[0][last] != 1 || space_.strides[1][last] == 1 ||
      space_.strides[1][last] == 0)
    return;
  for (int i = 0; i < last; ++i) {
    if (space_.strides[1][i] != 1) continue;
    transposes_ = true;
    rows_ = space_.shape[i];
    columns_ = space_.shape[last];
    row_stride_to_ = space_.strides[0][i];
    column_stride_from_ = space_.strides[1][last];
    space_.shape.erase(last);
    space_.shape.erase(i);
    for (Strides& strides : space_.strides) {
      strides.erase(last);
      strides.erase(i);
    }
    units_ = space_.total() * ceil_div(rows_, kSide) * ceil_div(columns_, kSide);
    return;
  }
}

void StridedCopy::run_range(const std::byte* from, std::byte* to, int64_t begin, int64_t end) const {
  if (transposes_) {
    const int64_t across = ceil_div(columns_, kSide), down = ceil_div(rows_, kSide);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t column = i % across * kSide, row = i / across % down * kSide, outer = i / across / down;
      const int64_t source = space_.offset(1, outer) + column * column_stride_from_ + row;
      const int64_t target = space_.offset(0, outer) + row * row_stride_to_ + column;
      with_bytes(bytes_, [&]<class T>() {
        copy_square<T>(from + source * bytes_, column_stride_from_, to + target * bytes_, row_stride_to_,
                       std::min(kSide, rows_ - row), std::min(kSide, columns_ - column));
      });
    }
    return;
  }
  const int64_t to_stride = space_.inner_stride(0), from_stride = space_.inner_stride(1);
  for_each_run(
      space_, std::array{0, 1}, begin, end - begin, [&](int64_t, int64_t count, const auto& offsets) {
        std::byte* target = to + offsets[0] * bytes_;
        const std::byte* source = from + offsets[1] * bytes_;
        if ((to_stride == 1 && from_stride == 1) || count == 1)
          std::memcpy(target, source, static_cast<size_t>(count * bytes_));
        else
          with_bytes(bytes_, [&]<class T>() { copy_run<T>(source, from_stride, target, to_stride, count); });
      });
}

void StridedCopy::run_parallel(const std::byte* from, std::byte* to) const {
  const int64_t unit_bytes = transposes_ ? kSide * kSide * bytes_ : bytes_;
  parallel_for(units_, kGrainBytes / unit_bytes,
               [&](int64_t begin, int64_t end) { run_range(from, to, begin, end); });
}

}  // namespace peri::kernels::host
