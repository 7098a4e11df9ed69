// Attention: a thread block per (query, head), which takes keys in chunks of kChunk: scores, their softmax
// within the chunk, the weighted sum of values, and joins the chunks in ascending order (online softmax). If
// there are few queries, every chunk has a thread block of its own and a second kernel joins them by the same
// arithmetic. So a row depends on its query and the keys that it sees alone: neither its neighbours nor the
// launch change a bit. Keys and values that a query does not see are not read for it.
#pragma once

#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

constexpr int kChunk = 256;      // keys; also threads
constexpr int kLanesPerKey = 8;  // that share one key's score
constexpr uint32_t kWholeWarp = ~0u;

struct Attention {
  int64_t queries, heads, keys, heads_per_key, width, chunks;
  int64_t q[3], k[3], v[3], out[3];  // strides
  int64_t position_stride, causal;
  double scale;
};

// Softmax state of some keys: the largest score and the sum of exp(score - largest).
struct State {
  float largest, sum;
};

// What both sides' weights are multiplied with when `right` joins `left`.
struct Joint {
  State state;
  float left, right;
};
inline Joint join(const State& left, const State& right) {
  constexpr float nothing = -scalar::kInfinity;
  const float largest = scalar::maximum(left.largest, right.largest);
  const float l = left.largest == nothing ? 0.0f : scalar::exp(left.largest - largest);
  const float r = right.largest == nothing ? 0.0f : scalar::exp(right.largest - largest);
  return {{largest, left.sum * l + right.sum * r}, l, r};
}

// Binary tree over the thread block; every thread gets the result.
template <class F>
float fold_threads(float x, float* scratch, F f) {
  for (int width = 16; width > 0; width /= 2) x = f(x, __shfl_xor_sync(kWholeWarp, x, width));
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  x = scratch[0];
  for (int w = 1; w < kChunk / 32; ++w) x = f(x, scratch[w]);
  __syncthreads();
  return x;
}

// E: the dtype; I: of the positions, if there are any; vector: elements per access; lanes: threads along a
// value's elements, at most kChunk.
template <class E, class I, bool has_positions, int vector, int lanes>
struct Attending {
  static constexpr int kGroups = kChunk / lanes;
  using Elements = Pack<E, vector>;

  const Attention& a;
  int64_t query, head, seen;
  // Shared memory: query [width], result [width], scores [kChunk], partial [kGroups, width]
  float *q, *result, *scores, *partial;

  Attending(const Attention& attention, const byte* positions, int64_t row) : a(attention) {
    extern __shared__ float shared[];
    query = row / a.heads;
    head = row % a.heads;
    int64_t position = a.keys - a.queries + query;
    if constexpr (has_positions) position = load<I>(positions, query * a.position_stride);
    seen = !a.causal ? a.keys : position < 0 ? 0 : position >= a.keys ? a.keys : position + 1;
    q = shared;
    result = q + a.width;
    scores = result + a.width;
    partial = scores + kChunk;
  }

  void load_query(const byte* from) {
    const int64_t base = query * a.q[0] + head * a.q[1];
    for (int64_t d = threadIdx.x; d < a.width; d += kChunk) {
      q[d] = load<E>(from, base + d * a.q[2]);
      result[d] = 0;
    }
    __syncthreads();
  }
  int64_t chunks_seen() const { return (seen + kChunk - 1) / kChunk; }

  // Weights of one chunk's keys in `scores`.
  State weigh(const byte* k, int64_t first, int count) {
    const int lane = threadIdx.x % kLanesPerKey;
    const int64_t base = head / a.heads_per_key * a.k[1];
    const auto scale = static_cast<float>(a.scale);
#pragma unroll 2
    for (int j = threadIdx.x / kLanesPerKey; j < kChunk; j += kChunk / kLanesPerKey) {
      float sum = 0;
      if (j < count) {
        const int64_t key = base + (first + j) * a.k[0];
        for (int64_t d = lane * vector; d < a.width; d += kLanesPerKey * vector) {
          Elements e;
          e.read(k, key + d * a.k[2]);
#pragma unroll
          for (int i = 0; i < vector; ++i) sum += q[d + i] * e.get(i);
        }
      }
      for (int width = kLanesPerKey / 2; width > 0; width /= 2)
        sum += __shfl_xor_sync(kWholeWarp, sum, width);
      if (lane == 0) scores[j] = sum * scale;
    }
    __syncthreads();
    const bool is_key = static_cast<int>(threadIdx.x) < count;
    const float score = is_key ? scores[threadIdx.x] : -scalar::kInfinity;
    const float largest =
        fold_threads(score, partial, [](float x, float y) { return scalar::maximum(x, y); });
    const float from = largest == -scalar::kInfinity ? 0.0f : largest;
    const float weight = is_key ? scalar::exp(score - from) : 0.0f;
    scores[threadIdx.x] = weight;
    return {largest, fold_threads(weight, partial, [](float x, float y) { return x + y; })};
  }

  // The weighted sum of one chunk's values: put(d, sum) for this thread's elements.
  template <class Put>
  void weighted_sum(const byte* v, int64_t first, int count, Put put) {
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes;
    const int64_t base = head / a.heads_per_key * a.v[1] + first * a.v[0];
    for (int64_t d = lane * vector; d < a.width; d += lanes * vector) {
      float sums[vector] = {};
#pragma unroll 4
      for (int j = group; j < count; j += kGroups) {
        Elements e;
        e.read(v, base + j * a.v[0] + d * a.v[2]);
        const float weight = scores[j];
#pragma unroll
        for (int i = 0; i < vector; ++i) sums[i] += weight * e.get(i);
      }
      for (int i = 0; i < vector; ++i) partial[group * a.width + d + i] = sums[i];
    }
    __syncthreads();
    for (int64_t d = threadIdx.x; d < a.width; d += kChunk) {
      float sum = 0;
      for (int g = 0; g < kGroups; ++g) sum += partial[g * a.width + d];
      put(d, sum);
    }
    __syncthreads();
  }

  static int size_of_chunk(int64_t seen, int64_t first) {
    return seen - first < kChunk ? static_cast<int>(seen - first) : kChunk;
  }

  void put(byte* out, float sum) const {
    const int64_t base = query * a.out[0] + head * a.out[1];
    for (int64_t d = threadIdx.x; d < a.width; d += kChunk)  // a query that sees no key gives zeros
      store<E>(out, base + d * a.out[2], seen > 0 ? result[d] / sum : 0.0f);
  }

  // All chunks of a row.
  static void whole(const byte* q, const byte* k, const byte* v, const byte* positions, byte* out,
                    const Attention& a) {
    Attending row(a, positions, blockIdx.x);
    row.load_query(q);
    State state{-scalar::kInfinity, 0};
    for (int64_t chunk = 0; chunk < row.chunks_seen(); ++chunk) {
      const int64_t first = chunk * kChunk;
      const int count = size_of_chunk(row.seen, first);
      const Joint joint = join(state, row.weigh(k, first, count));
      row.weighted_sum(v, first, count, [&](int64_t d, float sum) {
        row.result[d] = row.result[d] * joint.left + sum * joint.right;
      });
      state = joint.state;
    }
    row.put(out, state.sum);
  }

  // One chunk of a row: its state and sums go to `parts` [rows, chunks, 2 + width].
  static void part(const byte* q, const byte* k, const byte* v, const byte* positions, byte* parts,
                   const Attention& a) {
    const int64_t number = blockIdx.x, chunk = number % a.chunks;
    Attending row(a, positions, number / a.chunks);
    if (chunk >= row.chunks_seen()) return;
    row.load_query(q);
    float* to = reinterpret_cast<float*>(parts) + number * (2 + a.width);
    const int64_t first = chunk * kChunk;
    const int count = size_of_chunk(row.seen, first);
    const State state = row.weigh(k, first, count);
    row.weighted_sum(v, first, count, [&](int64_t d, float sum) { to[2 + d] = sum; });
    if (threadIdx.x == 0) {
      to[0] = state.largest;
      to[1] = state.sum;
    }
  }

  static void join_parts(const byte* parts, const byte* positions, byte* out, const Attention& a) {
    Attending row(a, positions, blockIdx.x);
    State state{-scalar::kInfinity, 0};
    for (int64_t d = threadIdx.x; d < a.width; d += kChunk) row.result[d] = 0;
    for (int64_t chunk = 0; chunk < row.chunks_seen(); ++chunk) {
      const float* from =
          reinterpret_cast<const float*>(parts) + (blockIdx.x * a.chunks + chunk) * (2 + a.width);
      const Joint joint = join(state, {from[0], from[1]});
      for (int64_t d = threadIdx.x; d < a.width; d += kChunk)
        row.result[d] = row.result[d] * joint.left + from[2 + d] * joint.right;
      state = joint.state;
    }
    row.put(out, state.sum);
  }
};

}  // namespace peri::kernels::cuda
