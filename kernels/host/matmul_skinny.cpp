// Products of few rows (decoding: one row per sequence). Each element of b is loaded and converted once, for
// all rows of a. Every row's sums run in an order that depends on k alone, so that a row's result does not
// depend on its neighbours.
#include <algorithm>
#include <cstring>

#include "kernels/host/elements.hpp"
#include "kernels/host/isa.hpp"
#include "kernels/host/matmul.hpp"
#include "kernels/host/threads.hpp"
#include "kernels/host/vector.hpp"

namespace peri::host {
namespace {

constexpr int64_t kGroup = 4;                  // rows of a per pass over a tile of b
constexpr int64_t kDepth = 4;                  // rows of b per pass over the sums
constexpr int64_t kLanes = 32;                 // of a dot product
constexpr int64_t kDotColumns = 16;            // columns of b per task where b's columns are contiguous
constexpr int64_t kGrainElements = 32 * 1024;  // of b

static_assert(kLanes == 2 * kVectorWidth);

// lanes[r][l] += x[i] * a[r][i] for i = l, l + kLanes, ...; count is a multiple of kLanes, rows of a are
// `a_stride` apart.
template <int rows>
struct Dot {
  PERI_SCALAR static void run(float* lanes, const float* x, const float* a, int64_t a_stride, int64_t count) {
    Vector sums[rows][2];
    std::memcpy(sums, lanes, sizeof sums);
    for (int64_t i = 0; i < count; i += kLanes) {
      const Vector x0 = vector_at(x + i), x1 = vector_at(x + i + kVectorWidth);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        sums[r][0] += x0 * vector_at(a + r * a_stride + i);
        sums[r][1] += x1 * vector_at(a + r * a_stride + i + kVectorWidth);
      }
    }
    std::memcpy(lanes, sums, sizeof sums);
  }
};

// sums[r][c] += a[r][0] * x[0][c] + ... over `depth` rows of b (1 or kDepth) one after the other; rows of
// sums are kTile apart, those of a a_stride.
template <int rows, int depth>
struct Axpy {
  PERI_SCALAR static void run(float* sums, const float* const* x, const float* a, int64_t a_stride,
                              int64_t count) {
    for (int r = 0; r < rows; ++r) {
      float* sum = sums + r * kTile;
      const float* factor = a + r * a_stride;
      if constexpr (depth == kDepth) {
        const float f0 = factor[0], f1 = factor[1], f2 = factor[2], f3 = factor[3];
        const float *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
#pragma GCC ivdep
        for (int64_t c = 0; c < count; ++c)
          sum[c] = sum[c] + f0 * x0[c] + f1 * x1[c] + f2 * x2[c] + f3 * x3[c];
      } else {
        const float f0 = factor[0];
        const float* x0 = x[0];
#pragma GCC ivdep
        for (int64_t c = 0; c < count; ++c) sum[c] = sum[c] + f0 * x0[c];
      }
    }
  }
};

using DotRows = void (*)(float*, const float*, const float*, int64_t, int64_t);
using AxpyRows = void (*)(float*, const float* const*, const float*, int64_t, int64_t);

class SkinnyKernel final : public Kernel {
 public:
  explicit SkinnyKernel(const Product& p)
      : p_(p),
        size_(size_of(p.dtype)),
        padded_((p.k + kLanes - 1) / kLanes * kLanes),
        by_columns_(p.b_row == 1 || p.b_column != 1),
        load_(load_tile(p.dtype)),
        store_(store_tile(p.dtype)),
        dot_{for_this_cpu<Dot<1>>(), for_this_cpu<Dot<2>>(), for_this_cpu<Dot<3>>(), for_this_cpu<Dot<4>>()},
        axpy_{{for_this_cpu<Axpy<1, 1>>(), for_this_cpu<Axpy<2, 1>>(), for_this_cpu<Axpy<3, 1>>(),
               for_this_cpu<Axpy<4, 1>>()},
              {for_this_cpu<Axpy<1, kDepth>>(), for_this_cpu<Axpy<2, kDepth>>(),
               for_this_cpu<Axpy<3, kDepth>>(), for_this_cpu<Axpy<4, kDepth>>()}} {}

  void run(Addresses inputs, Addresses outputs) const override {
    const int64_t width = by_columns_ ? kDotColumns : kTile, tasks = (p_.n + width - 1) / width;
    const std::byte *a = inputs[p_.swapped], *b = inputs[!p_.swapped];
    if (p_.m == 0) return;
    parallel_for(
        p_.batch.total() * tasks, kGrainElements / (width * std::max<int64_t>(1, p_.k)),
        [&](int64_t begin, int64_t end) {
          // Rows of a, padded with zeros; sums [m][kTile]; tiles of b; lanes.
          auto* rows = reinterpret_cast<float*>(
              thread_scratch((p_.m * (padded_ + kTile) + kDepth * kTile + p_.m * kLanes) *
                             static_cast<int64_t>(sizeof(float))));
          float *sums = rows + p_.m * padded_, *tiles = sums + p_.m * kTile, *lanes = tiles + kDepth * kTile;
          for (int64_t i = begin, loaded = -1; i < end; ++i) {
            const int64_t matrix = i / tasks, first = i % tasks * width,
                          count = std::min(width, p_.n - first);
            if (matrix != loaded) load_rows(a + p_.batch.offset(1, matrix) * size_, rows);
            loaded = matrix;
            const std::byte* columns = b + (p_.batch.offset(2, matrix) + first * p_.b_column) * size_;
            if (by_columns_)
              dot_columns(columns, count, rows, sums, tiles, lanes);
            else
              add_rows(columns, count, rows, sums, tiles);
            std::byte* c = outputs[0] + (p_.batch.offset(0, matrix) + first * p_.c_column) * size_;
            for (int64_t r = 0; r < p_.m; ++r)
              store_(sums + r * kTile, c + r * p_.c_row * size_, p_.c_column, count);
          }
        });
  }

 private:
  void load_rows(const std::byte* a, float* rows) const {
    for (int64_t r = 0; r < p_.m; ++r) {
      load_(rows + r * padded_, a + r * p_.a_row * size_, p_.a_column, p_.k);
      std::fill(rows + r * padded_ + p_.k, rows + (r + 1) * padded_, 0.0f);
    }
  }

  // count elements of b as floats: where they lie, or in `tile`.
  const float* load(const std::byte* from, int64_t stride, int64_t count, float* tile) const {
    if (p_.dtype == DType::f32 && stride == 1) return reinterpret_cast<const float*>(from);
    load_(tile, from, stride, count);
    return tile;
  }

  void dot_columns(const std::byte* b, int64_t count, const float* rows, float* sums, float* tile,
                   float* lanes) const {
    for (int64_t c = 0; c < count; ++c) {
      const std::byte* column = b + c * p_.b_column * size_;
      std::fill_n(lanes, p_.m * kLanes, 0.0f);
      for (int64_t at = 0; at < p_.k; at += kTile) {
        const int64_t length = std::min(kTile, p_.k - at), whole = length / kLanes * kLanes;
        const float* x = load(column + at * p_.b_row * size_, p_.b_row, length, tile);
        dot(lanes, x, rows + at, whole);
        if (whole == length) continue;
        float rest[kLanes] = {};
        std::copy(x + whole, x + length, rest);
        dot(lanes, rest, rows + at + whole, kLanes);
      }
      for (int64_t r = 0; r < p_.m; ++r) {
        float* l = lanes + r * kLanes;
        for (int64_t half = kLanes / 2; half > 0; half /= 2)
          for (int64_t i = 0; i < half; ++i) l[i] += l[i + half];
        sums[r * kTile + c] = l[0];
      }
    }
  }

  void dot(float* lanes, const float* x, const float* rows, int64_t count) const {
    for (int64_t r = 0; r < p_.m; r += kGroup)
      dot_[std::min(kGroup, p_.m - r) - 1](lanes + r * kLanes, x, rows + r * padded_, padded_, count);
  }

  void add_rows(const std::byte* b, int64_t count, const float* rows, float* sums, float* tiles) const {
    std::fill_n(sums, p_.m * kTile, 0.0f);
    const float* x[kDepth];
    for (int64_t at = 0; at < p_.k;) {
      const int64_t depth = p_.k - at >= kDepth ? kDepth : 1;
      for (int64_t d = 0; d < depth; ++d)
        x[d] = load(b + (at + d) * p_.b_row * size_, 1, count, tiles + d * kTile);
      for (int64_t r = 0; r < p_.m; r += kGroup)
        axpy_[depth == kDepth][std::min(kGroup, p_.m - r) - 1](sums + r * kTile, x, rows + r * padded_ + at,
                                                               padded_, count);
      at += depth;
    }
  }

  Product p_;
  int64_t size_, padded_;
  bool by_columns_;  // dot products along b's columns; else sums of b's rows
  LoadTile load_;
  StoreTile store_;
  DotRows dot_[kGroup];
  AxpyRows axpy_[2][kGroup];  // of one row of b, of kDepth
};

}  // namespace

Compiled compile_skinny_product(const Product& product) {
  return std::make_unique<SkinnyKernel>(product);
}

}  // namespace peri::host
