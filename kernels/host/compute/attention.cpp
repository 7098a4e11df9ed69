// Causal attention, row by row: the scores of a few query rows that share a key head, their softmax, the
// weighted sum of values. Keys and values pass through L1 in tiles that serve all those rows. Each row's
// arithmetic depends on its query and on the keys it sees alone: neither its neighbours nor the tiling change
// a bit. Keys and values that a query does not see are not read for it.
#include <algorithm>

#include "core/ops/attributes_of.hpp"
#include "kernels/compute/kernel_forms.hpp"
#include "kernels/host/compute/compile.hpp"
#include "kernels/host/compute/fold.hpp"
#include "kernels/host/compute/threads.hpp"
#include "kernels/host/simd/elements.hpp"
#include "kernels/host/simd/isa.hpp"
#include "kernels/host/simd/vector.hpp"

namespace peri::kernels::host {
namespace {

constexpr int64_t kKeys = 64;            // per tile
constexpr int64_t kMaxRows = 64;         // query rows per task
constexpr int64_t kFewRows = 8;          // for fewer, keys are not transposed
constexpr int64_t kScores = 128 * 1024;  // floats of scores per task, so that they stay in L2
constexpr int64_t kGrain = 64 * 1024;    // products of a query's and a key's element

// scores[j] = scale * (query . keys[j]); width is a multiple of kVectorWidth.
struct Scores {
  PERI_SCALAR static void run(float* scores, const float* query, const float* keys, int64_t key_stride,
                              int64_t count, int64_t width, float scale) {
    for (int64_t j = 0; j < count; ++j) {
      const float* key = keys + j * key_stride;
      Vector sum = vector_at(query) * vector_at(key);
      for (int64_t d = kVectorWidth; d < width; d += kVectorWidth)
        sum += vector_at(query + d) * vector_at(key + d);
      scores[j] = sum_of_lanes(sum) * scale;
    }
  }
};

// The same for the kKeys columns of a transposed tile [width, kKeys], with the same sums in the same order.
struct ScoresOfColumns {
  PERI_SCALAR static void run(float* scores, const float* query, const float* keys, int64_t width,
                              float scale) {
    Columns sums;
    set_lanes<0, 1>(sums, query, keys, width);
    for (int i = 0; i < kVectors; ++i) vector_at(scores + i * kVectorWidth) = sums[i] * scale;
  }

 private:
  static constexpr int kVectors = kKeys / kVectorWidth;
  using Columns = Vector[kVectors];

  // The sum of lanes first, first + step, ... of `Vector sum` above, as sum_of_lanes adds them.
  template <int first, int step>
  PERI_SCALAR static void set_lanes(Columns& sums, const float* query, const float* keys, int64_t width) {
    if constexpr (step == kVectorWidth) {
      for (int i = 0; i < kVectors; ++i)
        sums[i] = query[first] * vector_at(keys + first * kKeys + i * kVectorWidth);
      for (int64_t d = first + kVectorWidth; d < width; d += kVectorWidth)
        for (int i = 0; i < kVectors; ++i)
          sums[i] += query[d] * vector_at(keys + d * kKeys + i * kVectorWidth);
    } else {
      Columns others;
      set_lanes<first, 2 * step>(sums, query, keys, width);
      set_lanes<first + step, 2 * step>(others, query, keys, width);
      for (int i = 0; i < kVectors; ++i) sums[i] += others[i];
    }
  }
};

// Rows of keys become columns of a tile, zeros after the last.
struct Transpose {
  PERI_SCALAR static void run(float* tile, const float* keys, int64_t key_stride, int64_t count,
                              int64_t width) {
    for (int64_t d = 0; d < width; ++d) {
      float* to = tile + d * kKeys;
      for (int64_t j = 0; j < count; ++j) to[j] = keys[j * key_stride + d];
      for (int64_t j = count; j < kKeys; ++j) to[j] = 0.0f;
    }
  }
};

// Scores become weights; returns their sum through `sum`.
struct Weights {
  PERI_SCALAR static void run(float* scores, int64_t count, float* sum) {
    const auto largest = static_cast<float>(fold<Op::maximum>(scores, count));
#pragma GCC ivdep
    for (int64_t j = 0; j < count; ++j) scores[j] = scalar::exp(scores[j] - largest);
    *sum = static_cast<float>(fold<Op::add>(scores, count));
  }
};

// results[r] += weights[r][0] * values[0] + ..., one after the other, for `rows` rows that use each value
// while it is in a register.
template <int rows>
struct WeightedSum {
  template <int vectors>
  PERI_SCALAR static void columns(float* results, int64_t width, const float* weights, int64_t row_stride,
                                  const float* values, int64_t stride, int64_t count) {
    Vector sums[rows][vectors];
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < vectors; ++v) sums[r][v] = vector_at(results + r * width + v * kVectorWidth);
    for (int64_t j = 0; j < count; ++j)
      for (int v = 0; v < vectors; ++v)
        for (int r = 0; r < rows; ++r)
          sums[r][v] += weights[r * row_stride + j] * vector_at(values + j * stride + v * kVectorWidth);
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < vectors; ++v) vector_at(results + r * width + v * kVectorWidth) = sums[r][v];
  }
  PERI_SCALAR static void run(float* results, const float* weights, int64_t row_stride, const float* values,
                              int64_t stride, int64_t count, int64_t width) {
    int64_t d = 0;
    for (; d + 4 * kVectorWidth <= width; d += 4 * kVectorWidth)
      columns<4>(results + d, width, weights, row_stride, values + d, stride, count);
    for (; d < width; d += kVectorWidth)
      columns<1>(results + d, width, weights, row_stride, values + d, stride, count);
  }
};

struct Divide {
  PERI_SCALAR static void run(float* x, float divisor, int64_t count) {
    for (int64_t i = 0; i < count; ++i) x[i] = x[i] / divisor;
  }
};

class AttentionKernel final : public Kernel {
 public:
  explicit AttentionKernel(const KernelCall& call)
      : q_(call.in(0)),
        k_(call.in(1)),
        v_(call.in(2)),
        out_(call.out()),
        dtype_(call.dtype()),
        causal_(call.spec.attributes.as<Op::attention>().causal),
        load_(load_tile(dtype_)),
        store_(store_tile(dtype_)),
        scores_(for_this_cpu<Scores>()),
        scores_of_columns_(for_this_cpu<ScoresOfColumns>()),
        transpose_(for_this_cpu<Transpose>()),
        weights_(for_this_cpu<Weights>()),
        weighted_sum_(for_this_cpu<WeightedSum<1>>()),
        weighted_sum_of_two_(for_this_cpu<WeightedSum<2>>()),
        divide_(for_this_cpu<Divide>()) {
    queries_ = q_.shape[0];
    width_ = q_.shape[2];
    keys_ = k_.shape[0];
    key_heads_ = k_.shape[1];
    heads_per_key_ = q_.shape[1] / key_heads_;
    padded_ = std::max<int64_t>(1, (width_ + kVectorWidth - 1) / kVectorWidth) * kVectorWidth;
    scores_stride_ = (keys_ + kKeys - 1) / kKeys * kKeys;  // whole tiles
    rows_ = std::clamp<int64_t>(kScores / std::max<int64_t>(1, keys_), 1, kMaxRows);
    scale_ = static_cast<float>(attention_scale(call));
    if (call.inputs.size() == 4) {
      load_position_ = load_tile(call.inputs[3].dtype);
      position_stride_ = call.in(3).strides[0] * size_of(call.inputs[3].dtype);
    }
  }

  void run(Addresses inputs, Addresses outputs) const override {
    const int64_t rows = queries_ * heads_per_key_, tasks = (rows + rows_ - 1) / rows_;
    const int64_t work = 2 * rows_ * keys_ * std::max<int64_t>(1, width_);
    if (numel(out_.shape) == 0) return;
    parallel_for(key_heads_ * tasks, kGrain / work, [&](int64_t begin, int64_t end) {
      Scratch scratch = carve();
      for (int64_t i = begin; i < end; ++i) {
        // Later queries see more keys: tasks alternate between both ends, so that threads get equal work.
        const int64_t at = i % tasks, task = at % 2 ? tasks - 1 - at / 2 : at / 2;
        attend(inputs, outputs[0], i / tasks, task * rows_, std::min(rows_, rows - task * rows_), scratch);
      }
    });
  }

 private:
  struct Scratch {
    float *queries, *results;  // [rows, padded]
    float *tile, *transposed;  // [kKeys, padded], [padded, kKeys]
    float* scores;             // [rows, scores_stride]
  };
  Scratch carve() const {
    const int64_t lines = rows_ * padded_, tile = kKeys * padded_;
    const int64_t floats = 2 * lines + 2 * tile + rows_ * scores_stride_;
    auto* at = reinterpret_cast<float*>(thread_scratch(floats * static_cast<int64_t>(sizeof(float))));
    float* tiles = at + 2 * lines;
    return {at, at + lines, tiles, tiles + tile, tiles + 2 * tile};
  }

  // Row r of a key head is query r / heads_per_key, head r % heads_per_key of those that share it.
  void attend(Addresses inputs, std::byte* out, int64_t key_head, int64_t first, int64_t rows,
              const Scratch& s) const {
    const int64_t size = size_of(dtype_);
    auto row_offset = [&](const View& view, int64_t row) {
      const int64_t head = key_head * heads_per_key_ + row % heads_per_key_;
      return (row / heads_per_key_ * view.strides[0] + head * view.strides[1]) * size;
    };
    int64_t seen[kMaxRows], most = 0;
    for (int64_t r = 0; r < rows; ++r) {
      load_padded(s.queries + r * padded_, inputs[0] + row_offset(q_, first + r), q_.strides[2]);
      seen[r] = keys_seen(inputs, (first + r) / heads_per_key_);
      most = std::max(most, seen[r]);
    }
    for_each_tile(
        inputs[1] + key_head * k_.strides[1] * size, k_, most, s.tile,
        [&](int64_t at, const float* keys, int64_t stride) { score(at, keys, stride, most, seen, rows, s); });
    float sums[kMaxRows];
    for (int64_t r = 0; r < rows; ++r) weights_(s.scores + r * scores_stride_, seen[r], &sums[r]);
    std::fill_n(s.results, rows * padded_, 0.0f);
    for_each_tile(inputs[2] + key_head * v_.strides[1] * size, v_, most, s.tile,
                  [&](int64_t at, const float* values, int64_t stride) {
                    add_weighted(at, values, stride, seen, rows, s);
                  });
    for (int64_t r = 0; r < rows; ++r) {
      float* result = s.results + r * padded_;
      if (seen[r] > 0) divide_(result, sums[r], width_);  // a query that sees no key gives zeros
      store_(result, out + row_offset(out_, first + r), out_.strides[2], width_);
    }
  }

  // The scores of the rows that see keys of the tile at `at`.
  void score(int64_t at, const float* keys, int64_t stride, int64_t most, const int64_t* seen, int64_t rows,
             const Scratch& s) const {
    const bool by_columns = rows >= kFewRows;
    if (by_columns) transpose_(s.transposed, keys, stride, std::min(kKeys, most - at), padded_);
    for (int64_t r = 0; r < rows; ++r) {
      float* scores = s.scores + r * scores_stride_ + at;
      const float* query = s.queries + r * padded_;
      if (seen[r] <= at) continue;
      if (by_columns)
        scores_of_columns_(scores, query, s.transposed, padded_, scale_);
      else
        scores_(scores, query, keys, stride, std::min(seen[r] - at, kKeys), padded_, scale_);
    }
  }

  // Adds the values of the tile at `at`: those that neighbouring rows all see to both rows at once.
  void add_weighted(int64_t at, const float* values, int64_t stride, const int64_t* seen, int64_t rows,
                    const Scratch& s) const {
    auto in_tile = [&](int64_t r) { return std::clamp<int64_t>(seen[r] - at, 0, kKeys); };
    auto add = [&](int64_t r, int64_t begin, int64_t end, const auto& sum) {
      if (begin < end)
        sum(s.results + r * padded_, s.scores + r * scores_stride_ + at + begin, scores_stride_,
            values + begin * stride, stride, end - begin, padded_);
    };
    for (int64_t r = 0; r < rows; r += 2) {
      const int64_t both = r + 1 < rows ? std::min(in_tile(r), in_tile(r + 1)) : 0;
      add(r, 0, both, weighted_sum_of_two_);
      for (int64_t one = r; one < std::min(r + 2, rows); ++one) add(one, both, in_tile(one), weighted_sum_);
    }
  }

  int64_t keys_seen(Addresses inputs, int64_t query) const {
    if (!causal_) return keys_;
    int64_t position = keys_ - queries_ + query;
    if (load_position_) load_position_(&position, inputs[3] + query * position_stride_, 1, 1);
    return std::clamp<int64_t>(position, -1, keys_ - 1) + 1;
  }

  void load_padded(float* to, const std::byte* from, int64_t stride) const {
    load_(to, from, stride, width_);
    std::fill(to + width_, to + padded_, 0.0f);
  }

  // Calls body(first, rows, row stride) for tiles of kKeys rows of one head's keys or values: where they lie,
  // or in `tile`.
  template <class Body>
  void for_each_tile(const std::byte* data, const View& view, int64_t count, float* tile, Body&& body) const {
    const bool in_place = dtype_ == DType::f32 && view.strides[2] == 1 && width_ == padded_;
    const int64_t row_bytes = view.strides[0] * size_of(dtype_);
    for (int64_t at = 0; at < count; at += kKeys) {
      if (in_place) {
        body(at, reinterpret_cast<const float*>(data + at * row_bytes), view.strides[0]);
        continue;
      }
      for (int64_t j = 0; j < std::min(kKeys, count - at); ++j)
        load_padded(tile + j * padded_, data + (at + j) * row_bytes, view.strides[2]);
      body(at, tile, padded_);
    }
  }

  View q_, k_, v_, out_;
  DType dtype_;
  bool causal_;
  LoadTile load_, load_position_ = nullptr;
  StoreTile store_;
  void (*scores_)(float*, const float*, const float*, int64_t, int64_t, int64_t, float);
  void (*scores_of_columns_)(float*, const float*, const float*, int64_t, float);
  void (*transpose_)(float*, const float*, int64_t, int64_t, int64_t);
  void (*weights_)(float*, int64_t, float*);
  using AddWeighted = void (*)(float*, const float*, int64_t, const float*, int64_t, int64_t, int64_t);
  AddWeighted weighted_sum_, weighted_sum_of_two_;
  void (*divide_)(float*, float, int64_t);
  int64_t queries_, width_, keys_, key_heads_, heads_per_key_, padded_, scores_stride_, rows_,
      position_stride_ = 0;
  float scale_;
};

}  // namespace

CompiledHostKernel compile_attention(const KernelCall& call) {
  switch (op_of<AttentionOp>(call.spec.op)) {
    case AttentionOp::attention:
      return std::make_unique<AttentionKernel>(call);
  }
  PERI_CHECK(false, "not an attention");
}

}  // namespace peri::kernels::host
