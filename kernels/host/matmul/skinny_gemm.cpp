// Products of few rows (decoding: one row per sequence). Each element of b is loaded and converted once, for
// all rows of a. Every row's sums run in an order that depends on k alone, so that a row's result does not
// depend on its neighbours.
#include <algorithm>
#include <cstring>

#include "kernels/host/compute/threads.hpp"
#include "kernels/host/matmul/matmul.hpp"
#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/isa.hpp"
#include "kernels/host/simd/vector.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kGroup = 4;        // rows of a per pass over a tile of b
constexpr int64_t kDepth = 4;        // rows of b per pass over the sums
constexpr int64_t kLanes = 32;       // of a dot product
constexpr int64_t kDotColumns = 16;  // columns of b per task where b's columns are contiguous
constexpr int64_t kDotTile = 1024;   // elements of a column converted at once
constexpr int64_t kPair = 2;         // columns of b that share a pass over a
constexpr int64_t kSums = 2048;      // floats of sums per task, at least kTile per row: they stay in L1
constexpr int64_t kGrainElements = 32 * 1024;  // of b

static_assert(kLanes == 2 * kVectorWidth);

// Dot products of `rows` rows of a, a_stride apart, with `columns` columns of b: lanes[c][r][l] +=
// x[c][i] * a[r][i] for i = l, l + kLanes, ...; count is a multiple of kLanes, columns' lanes are lane_stride
// apart.
template <int rows, int columns>
struct Dot {
  PERI_SCALAR static void run(float* lanes, int64_t lane_stride, const float* const* x, const float* a,
                              int64_t a_stride, int64_t count) {
    Vector sums[columns][rows][2];
    for (int c = 0; c < columns; ++c) std::memcpy(sums[c], lanes + c * lane_stride, sizeof sums[c]);
    for (int64_t i = 0; i < count; i += kLanes) {
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const Vector a0 = vector_at(a + r * a_stride + i);
        const Vector a1 = vector_at(a + r * a_stride + i + kVectorWidth);
#pragma GCC unroll 2
        for (int c = 0; c < columns; ++c) {
          sums[c][r][0] += a0 * vector_at(x[c] + i);
          sums[c][r][1] += a1 * vector_at(x[c] + i + kVectorWidth);
        }
      }
    }
    for (int c = 0; c < columns; ++c) std::memcpy(lanes + c * lane_stride, sums[c], sizeof sums[c]);
  }
};

// sums[r][c] += a[r][0] * x[0][c] + ... over `depth` rows of b (1 or kDepth) one after the other; rows of
// sums are sum_stride apart, those of a a_stride.
template <int rows, int depth>
struct Axpy {
  PERI_SCALAR static void run(float* sums, int64_t sum_stride, const float* const* x, const float* a,
                              int64_t a_stride, int64_t count) {
    int64_t c = 0;
    for (; c + kVectorWidth <= count; c += kVectorWidth) {
      Vector columns[depth];
      for (int d = 0; d < depth; ++d) columns[d] = vector_at(x[d] + c);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        Vector sum = vector_at(sums + r * sum_stride + c);
#pragma GCC unroll 4
        for (int d = 0; d < depth; ++d) sum += a[r * a_stride + d] * columns[d];
        vector_at(sums + r * sum_stride + c) = sum;
      }
    }
    for (; c < count; ++c)
      for (int r = 0; r < rows; ++r)
        for (int d = 0; d < depth; ++d) sums[r * sum_stride + c] += a[r * a_stride + d] * x[d][c];
  }
};

using DotRows = void (*)(float*, int64_t, const float* const*, const float*, int64_t, int64_t);
using AxpyRows = void (*)(float*, int64_t, const float* const*, const float*, int64_t, int64_t);

class HostSkinnyGemmKernel final : public Kernel {
 public:
  explicit HostSkinnyGemmKernel(const StridedGemm& p)
      : p_(p),
        size_(size_of(p.dtype)),
        padded_((p.k + kLanes - 1) / kLanes * kLanes),
        by_columns_(p.b_row == 1 || p.b_column != 1),
        width_(by_columns_ ? kDotColumns : std::max(kTile, kSums / std::max<int64_t>(1, p.m) / (4 / size_))),
        load_(load_tile(p.dtype)),
        store_(store_tile(p.dtype)),
        dot_{{for_this_cpu<Dot<1, 1>>(), for_this_cpu<Dot<2, 1>>(), for_this_cpu<Dot<3, 1>>(),
              for_this_cpu<Dot<4, 1>>()},
             {for_this_cpu<Dot<1, kPair>>(), for_this_cpu<Dot<2, kPair>>(), for_this_cpu<Dot<3, kPair>>(),
              for_this_cpu<Dot<4, kPair>>()}},
        axpy_{{for_this_cpu<Axpy<1, 1>>(), for_this_cpu<Axpy<2, 1>>(), for_this_cpu<Axpy<3, 1>>(),
               for_this_cpu<Axpy<4, 1>>()},
              {for_this_cpu<Axpy<1, kDepth>>(), for_this_cpu<Axpy<2, kDepth>>(),
               for_this_cpu<Axpy<3, kDepth>>(), for_this_cpu<Axpy<4, kDepth>>()}} {}

  void run(Addresses inputs, Addresses outputs) const override {
    const int64_t tasks = (p_.n + width_ - 1) / width_;
    const std::byte *a = inputs[p_.swapped], *b = inputs[!p_.swapped];
    if (p_.m == 0) return;
    const int64_t grain = kGrainElements / (width_ * std::max<int64_t>(1, p_.k));
    parallel_for(p_.batch.total() * tasks, grain, [&](int64_t begin, int64_t end) {
      const Scratch s = carve();
      for (int64_t i = begin, loaded = -1; i < end; ++i) {
        const int64_t matrix = i / tasks, first = i % tasks * width_, count = std::min(width_, p_.n - first);
        if (matrix != loaded) load_rows(a + p_.batch.offset(1, matrix) * size_, s.rows);
        loaded = matrix;
        const std::byte* columns = b + (p_.batch.offset(2, matrix) + first * p_.b_column) * size_;
        if (by_columns_)
          dot_columns(columns, count, s);
        else
          add_rows(columns, count, s);
        std::byte* c = outputs[0] + (p_.batch.offset(0, matrix) + first * p_.c_column) * size_;
        for (int64_t r = 0; r < p_.m; ++r)
          store_(s.sums + r * width_, c + r * p_.c_row * size_, p_.c_column, count);
      }
    });
  }

 private:
  struct Scratch {
    float *rows, *sums;    // of a [m, padded], of c [m, width]
    float *tiles, *lanes;  // of b [kDepth, width] or [kPair, kDotTile], of dot products [kPair, m, kLanes]
  };
  Scratch carve() const {
    const int64_t rows = p_.m * padded_, sums = p_.m * width_,
                  tiles = std::max(kDepth * width_, kPair * kDotTile);
    const int64_t lanes = kPair * p_.m * kLanes;
    auto* at = reinterpret_cast<float*>(
        thread_scratch((rows + sums + tiles + lanes) * static_cast<int64_t>(sizeof(float))));
    return {at, at + rows, at + rows + sums, at + rows + sums + tiles};
  }

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

  void dot_columns(const std::byte* b, int64_t count, const Scratch& s) const {
    const int64_t column_lanes = p_.m * kLanes;
    for (int64_t first = 0; first < count; first += kPair) {
      const int64_t columns = std::min(kPair, count - first);
      std::fill_n(s.lanes, columns * column_lanes, 0.0f);
      for (int64_t at = 0; at < p_.k; at += kDotTile) {
        const int64_t length = std::min(kDotTile, p_.k - at), whole = length / kLanes * kLanes;
        const float* x[kPair];
        float rest[kPair][kLanes] = {};
        const float* rests[kPair] = {rest[0], rest[1]};
        for (int64_t c = 0; c < columns; ++c) {
          x[c] = load(b + ((first + c) * p_.b_column + at * p_.b_row) * size_, p_.b_row, length,
                      s.tiles + c * kDotTile);
          std::copy(x[c] + whole, x[c] + length, rest[c]);
        }
        dot(s.lanes, x, columns, s.rows + at, whole);
        if (whole < length) dot(s.lanes, rests, columns, s.rows + at + whole, kLanes);
      }
      for (int64_t i = 0; i < columns * p_.m; ++i) {
        float* l = s.lanes + i * kLanes;
        for (int64_t half = kLanes / 2; half > 0; half /= 2)
          for (int64_t j = 0; j < half; ++j) l[j] += l[j + half];
        s.sums[i % p_.m * width_ + first + i / p_.m] = l[0];
      }
    }
  }

  void dot(float* lanes, const float* const* x, int64_t columns, const float* rows, int64_t count) const {
    for (int64_t r = 0; r < p_.m; r += kGroup)
      dot_[columns - 1][std::min(kGroup, p_.m - r) - 1](lanes + r * kLanes, p_.m * kLanes, x,
                                                        rows + r * padded_, padded_, count);
  }

  void add_rows(const std::byte* b, int64_t count, const Scratch& s) const {
    std::fill_n(s.sums, p_.m * width_, 0.0f);
    const float* x[kDepth];
    for (int64_t at = 0; at < p_.k;) {
      const int64_t depth = p_.k - at >= kDepth ? kDepth : 1;
      for (int64_t d = 0; d < depth; ++d)
        x[d] = load(b + (at + d) * p_.b_row * size_, 1, count, s.tiles + d * width_);
      for (int64_t r = 0; r < p_.m; r += kGroup)
        axpy_[depth == kDepth][std::min(kGroup, p_.m - r) - 1](s.sums + r * width_, width_, x,
                                                               s.rows + r * padded_ + at, padded_, count);
      at += depth;
    }
  }

  StridedGemm p_;
  int64_t size_, padded_;
  bool by_columns_;  // dot products along b's columns; else sums of b's rows
  int64_t width_;    // columns of b per task
  LoadTile load_;
  StoreTile store_;
  DotRows dot_[kPair][kGroup];  // with one column, with two
  AxpyRows axpy_[2][kGroup];    // of one row of b, of kDepth
};

}  // namespace

CompiledHostKernel compile_skinny_gemm(const StridedGemm& product) {
  return std::make_unique<HostSkinnyGemmKernel>(product);
}

}  // namespace peri::kernels::host
