// Attention: a thread block per (query, head), which takes keys in chunks of kChunk: scores, their softmax
// within the chunk, the weighted sum of values, and joins the chunks in ascending order (online softmax). If
// there are few queries, every chunk has a thread block of its own, and the last of a row to end joins them
// by the same arithmetic. So a row depends on its query and the keys that it sees alone: neither its
// neighbours nor the launch change a bit. Keys and values that a query does not see are not read for it.
//
// A few queries wait for their loads rather than for bandwidth, so a thread has many on their way: its values
// are asked for before the scores are known.
#pragma once

#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

constexpr int kChunk = 256;      // keys; also threads
constexpr int kLanesPerKey = 8;  // that share one key's score
constexpr uint32_t kWholeWarp = ~0u;

struct Attention {
  int64_t queries, heads, keys, heads_per_key, chunks;
  int64_t q[3], k[3], v[3], out[3];  // strides
  int64_t position_stride, causal;
  double scale;
};

// Softmax state of some keys: the largest score and the sum of exp(score - largest).
struct State {
  float largest, sum;
};

// What both sides' weights are multiplied with when `right` joins `left`.
inline int min_of(int x, int y) {
  return x < y ? x : y;
}

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

// E: the dtype; I: of the positions, if there are any; width: of a head; vector: elements per access; lanes:
// threads along a value's elements, at most kChunk.
template <class E, class I, bool has_positions, int width, int vector, int lanes>
struct Attending {
  static constexpr int kGroups = kChunk / lanes;      // of threads, which take values in turn
  static constexpr int kPerGroup = kChunk / kGroups;  // values
  static constexpr int kAhead =
      kPerGroup < 16 ? kPerGroup : 16;  // of them in registers before the scores are known
  static constexpr int kTurns =
      (width + kLanesPerKey * vector - 1) / (kLanesPerKey * vector);  // accesses to a key
  static constexpr int kTurnsAtOnce = kTurns < 8 ? kTurns : 8;
  static constexpr int kKeysAtOnce = kTurns <= 2 ? 8 : kTurns <= 4 ? 4 : 2;
  using Elements = Pack<E, vector>;

  const Attention& a;
  int64_t query, head, kv_head, seen;
  // Shared memory: query [width], result [width], scores [kChunk], partial [kGroups, width]
  float *q, *result, *scores, *partial;
  Elements ahead[kAhead];

  Attending(const Attention& attention, const byte* positions, int64_t row) : a(attention) {
    extern __shared__ float shared[];
    query = static_cast<uint32_t>(row) / static_cast<uint32_t>(a.heads);  // a grid has less than 2^31 blocks
    head = static_cast<uint32_t>(row) % static_cast<uint32_t>(a.heads);
    kv_head = static_cast<uint32_t>(head) / static_cast<uint32_t>(a.heads_per_key);
    int64_t position = a.keys - a.queries + query;
    if constexpr (has_positions) position = load<I>(positions, query * a.position_stride);
    seen = !a.causal ? a.keys : position < 0 ? 0 : position >= a.keys ? a.keys : position + 1;
    q = shared;
    result = q + width;
    scores = result + width;
    partial = scores + kChunk;
  }

  void load_query(const byte* from) {
    const int64_t base = query * a.q[0] + head * a.q[1];
    for (int d = threadIdx.x; d < width; d += kChunk) {
      q[d] = load<E>(from, base + d * a.q[2]);
      result[d] = 0;
    }
    __syncthreads();
  }
  int64_t chunks_seen() const { return (seen + kChunk - 1) / kChunk; }

  // Weights of one chunk's keys in `scores`.
  State weigh(const byte* k, int64_t first, int count) {
    const int lane = threadIdx.x % kLanesPerKey;
    const int64_t base = kv_head * a.k[1];
    const auto scale = static_cast<float>(a.scale);
    auto element = [&](int turn) { return (turn * kLanesPerKey + lane) * vector; };
    constexpr int kKeysPerTurn = kChunk / kLanesPerKey;
#pragma unroll 1
    for (int j = threadIdx.x / kLanesPerKey; j < kChunk; j += kKeysAtOnce * kKeysPerTurn) {
      float sums[kKeysAtOnce] = {};
#pragma unroll 1
      for (int turn = 0; turn < kTurns; turn += kTurnsAtOnce) {
        Elements e[kKeysAtOnce][kTurnsAtOnce];
#pragma unroll
        for (int n = 0; n < kKeysAtOnce; ++n) {
          const int key = min_of(j + n * kKeysPerTurn, count - 1);  // there is nothing to read after the last
          const int64_t at = base + (first + key) * a.k[0];
#pragma unroll
          for (int t = 0; t < kTurnsAtOnce; ++t)
            if (const int d = element(turn + t); d < width) e[n][t].read(k, at + d * a.k[2]);
        }
#pragma unroll
        for (int t = 0; t < kTurnsAtOnce; ++t)
          if (const int d = element(turn + t); d < width)
#pragma unroll
            for (int i = 0; i < vector; ++i)
#pragma unroll
              for (int n = 0; n < kKeysAtOnce; ++n) sums[n] += q[d + i] * e[n][t].get(i);
      }
#pragma unroll
      for (int n = 0; n < kKeysAtOnce; ++n) {
        for (int distance = kLanesPerKey / 2; distance > 0; distance /= 2)
          sums[n] += __shfl_xor_sync(kWholeWarp, sums[n], distance);
        if (lane == 0) scores[j + n * kKeysPerTurn] = sums[n] * scale;
      }
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

  // This thread's elements of a value: from d on, of every kGroups-th value from `group` on.
  static int group() { return threadIdx.x / lanes; }
  static int first_element() { return threadIdx.x % lanes * vector; }
  void read_value(Elements& e, const byte* v, int64_t first, int j, int d) const {
    e.read(v, kv_head * a.v[1] + (first + j) * a.v[0] + d * a.v[2]);
  }

  // Asks for the first values of a chunk.
  void read_ahead(const byte* v, int64_t first, int count) {
    const int d = first_element();
#pragma unroll
    for (int n = 0; n < kAhead; ++n)
      if (d < width) read_value(ahead[n], v, first, min_of(group() + n * kGroups, count - 1), d);
  }

  // The weighted sum of one chunk's values: put(d, sum) for this thread's elements. `is_ahead`: after
  // read_ahead.
  template <bool is_ahead, class Put>
  void weighted_sum(const byte* v, int64_t first, int count, Put put) {
    for (int d = first_element(); d < width; d += lanes * vector) {
      float sums[vector] = {};
      auto add = [&](const Elements& e, int j) {
        const float weight = scores[j];
#pragma unroll
        for (int i = 0; i < vector; ++i) sums[i] += weight * e.get(i);
      };
      if constexpr (is_ahead) {
#pragma unroll
        for (int n = 0; n < kAhead; ++n)
          if (const int j = group() + n * kGroups; j < count) add(ahead[n], j);
      }
      if constexpr (!is_ahead || kAhead < kPerGroup) {
#pragma unroll 4
        for (int j = group() + (is_ahead ? kAhead * kGroups : 0); j < count; j += kGroups) {
          Elements e;
          read_value(e, v, first, j, d);
          add(e, j);
        }
      }
      for (int i = 0; i < vector; ++i) partial[group() * width + d + i] = sums[i];
    }
    __syncthreads();
    for (int d = threadIdx.x; d < width; d += kChunk) {
      float sum = 0;
      for (int g = 0; g < kGroups; ++g) sum += partial[g * width + d];
      put(d, sum);
    }
    __syncthreads();
  }

  static int size_of_chunk(int64_t seen, int64_t first) {
    return seen - first < kChunk ? static_cast<int>(seen - first) : kChunk;
  }

  void put(byte* out, float sum) const {
    const int64_t base = query * a.out[0] + head * a.out[1];
    for (int d = threadIdx.x; d < width; d += kChunk)  // a query that sees no key gives zeros
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
      row.template weighted_sum<false>(v, first, count, [&](int d, float sum) {
        row.result[d] = row.result[d] * joint.left + sum * joint.right;
      });
      state = joint.state;
    }
    row.put(out, state.sum);
  }

  // One chunk of a row: its state and sums go to `parts` [rows, chunks, 2 + width]. Who counts the row's last
  // one joins them; `counters` [rows] are zeros before and after.
  static void part(const byte* q, const byte* k, const byte* v, const byte* positions, byte* out,
                   byte* scratch, const Attention& a) {
    const uint32_t number = blockIdx.x, chunks = static_cast<uint32_t>(a.chunks),
                   row_number = number / chunks, chunk = number % chunks;
    float* const parts = reinterpret_cast<float*>(scratch);
    auto* const counters = reinterpret_cast<uint32_t*>(parts + a.queries * a.heads * a.chunks * (2 + width));
    Attending row(a, positions, row_number);
    const int64_t seen = row.chunks_seen();
    if (chunk >= seen) {
      if (chunk == 0) row.put(out, 0);
      return;
    }
    const int64_t first = static_cast<int64_t>(chunk) * kChunk;
    const int count = size_of_chunk(row.seen, first);
    row.read_ahead(v, first, count);
    row.load_query(q);
    float* to = parts + static_cast<int64_t>(number) * (2 + width);
    const State state = row.weigh(k, first, count);
    row.template weighted_sum<true>(v, first, count, [&](int d, float sum) { to[2 + d] = sum; });
    if (threadIdx.x == 0) {
      to[0] = state.largest;
      to[1] = state.sum;
    }
    __threadfence();
    __syncthreads();
    __shared__ bool is_last;
    if (threadIdx.x == 0)
      is_last = atomicInc(counters + row_number, static_cast<uint32_t>(seen - 1)) ==
                static_cast<uint32_t>(seen - 1);
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    row.join_parts(parts + row_number * a.chunks * (2 + width), seen, out);
  }

  // A thread has the same elements of `result` from its zeros to its end.
  void join_parts(const float* parts, int64_t chunks, byte* out) {
    State state{-scalar::kInfinity, 0};
#pragma unroll 4
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const float* from = parts + chunk * (2 + width);
      const Joint joint = join(state, {__ldcg(from), __ldcg(from + 1)});
      for (int d = threadIdx.x; d < width; d += kChunk)
        result[d] = result[d] * joint.left + __ldcg(from + 2 + d) * joint.right;
      state = joint.state;
    }
    put(out, state.sum);
  }
};

}  // namespace peri::kernels::cuda
