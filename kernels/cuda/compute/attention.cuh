// Attention: a thread block per query and `heads` heads that share keys and values. It takes keys in chunks
// of kChunk: scores, their softmax within the chunk, the weighted sum of values, and joins the chunks in
// ascending order (online softmax). If there are few queries, every chunk has a thread block of its own, and
// the last of them to end joins them by the same arithmetic. So a row (a query's head) depends on its query
// and the keys that it sees alone: neither its neighbours nor the launch change a bit. Keys and values that a
// query does not see are not read for it.
//
// A few queries wait for their loads rather than for bandwidth, so a thread has many on their way: its values
// are asked for before the scores are known.
#pragma once

#include "kernels/cuda/nvrtc/source_elements.cuh"

namespace peri::kernels::cuda {

constexpr int kChunk = 256;  // keys; also threads
constexpr int kWarps = kChunk / 32;
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
  float largest = -scalar::kInfinity, sum = 0;
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

inline int min_of(int x, int y) {
  return x < y ? x : y;
}

// For each of `count` numbers, a binary tree over the thread block; every thread gets the results.
// `scratch` [count, kWarps].
template <int count, class F>
void fold_threads(float (&x)[count], float* scratch, F f) {
#pragma unroll
  for (int n = 0; n < count; ++n) {
    for (int distance = 16; distance > 0; distance /= 2)
      x[n] = f(x[n], __shfl_xor_sync(kWholeWarp, x[n], distance));
    if (threadIdx.x % 32 == 0) scratch[n * kWarps + threadIdx.x / 32] = x[n];
  }
  __syncthreads();
#pragma unroll
  for (int n = 0; n < count; ++n) {
    x[n] = scratch[n * kWarps];
    for (int w = 1; w < kWarps; ++w) x[n] = f(x[n], scratch[n * kWarps + w]);
  }
  __syncthreads();
}

// `count` elements along the last dimension, in accesses of `vector`: what a thread takes of a key or a value
// at once. Their number depends on the dtype alone, so that the layout does not change the order of a sum.
template <class E, int count, int vector>
struct Run {
  Pack<E, vector> packs[count / vector];
  // Those below `end`.
  void read(const byte* memory, int64_t offset, int64_t stride, int end) {
#pragma unroll
    for (int i = 0; i < count / vector; ++i)
      if (i * vector < end) packs[i].read(memory, offset + i * vector * stride);
  }
  float get(int i) const { return packs[i / vector].get(i % vector); }
};

// E: the dtype; I: of the positions, if there are any; width: of a head; vector: elements per access; lanes:
// threads along a value's elements, at most kChunk; heads: that a thread block takes.
template <class E, class I, bool has_positions, int width, int vector, int lanes, int heads>
struct Attending {
  static constexpr int kPack = 16 / sizeof(Memory<E>);  // elements that a thread takes at once
  static constexpr int kGroups = kChunk / lanes;        // of threads, which take values in turn
  static constexpr int kPerGroup = kChunk / kGroups;    // values
  // Of them in registers before the scores are known.
  static constexpr int kAhead = kPerGroup < 16 ? kPerGroup : 16;
  // Accesses to a key.
  static constexpr int kTurns = (width + kLanesPerKey * kPack - 1) / (kLanesPerKey * kPack);
  static constexpr int kTurnsAtOnce = kTurns < 8 ? kTurns : 8;
  static constexpr int kKeysAtOnce = kTurns <= 2 ? 8 : kTurns <= 4 ? 4 : 2;
  using Taken = Run<E, kPack, vector>;

  const Attention& a;
  int64_t query, first_head, kv_head, seen;
  // Shared memory, for each head: query [width], result [width], scores [kChunk], partial [kGroups, width],
  // which is also the scratch of fold_threads
  float *q, *result, *scores, *partial;
  Taken ahead[kAhead];

  // `number`: of the thread block, without its chunk; there are less than 2^31.
  Attending(const Attention& attention, const byte* positions, uint32_t number) : a(attention) {
    extern __shared__ float shared[];
    const auto blocks = static_cast<uint32_t>(a.heads) / heads;
    query = number / blocks;
    first_head = number % blocks * heads;
    kv_head = static_cast<uint32_t>(first_head) / static_cast<uint32_t>(a.heads_per_key);
    int64_t position = a.keys - a.queries + query;
    if constexpr (has_positions) position = load<I>(positions, query * a.position_stride);
    seen = !a.causal ? a.keys : position < 0 ? 0 : position >= a.keys ? a.keys : position + 1;
    q = shared;
    result = q + heads * width;
    scores = result + heads * width;
    partial = scores + heads * kChunk;
  }

  // Whether element `i` of those from d on is one.
  static bool is_element(int d, int i) { return width % kPack == 0 || d + i < width; }
  // f(number, head, element) for each of this thread's elements of the heads.
  template <class F>
  static void each_element(F f) {
    for (int i = threadIdx.x; i < heads * width; i += kChunk) f(i, i / width, i % width);
  }

  void load_query(const byte* from) {
    each_element([&](int i, int h, int d) {
      q[i] = load<E>(from, query * a.q[0] + (first_head + h) * a.q[1] + d * a.q[2]);
      result[i] = 0;
    });
    __syncthreads();
  }
  int64_t chunks_seen() const { return (seen + kChunk - 1) / kChunk; }

  // Weights of one chunk's keys in `scores`.
  void weigh(const byte* k, int64_t first, int count, State (&states)[heads]) {
    put_scores(k, first, count);
    const bool is_key = static_cast<int>(threadIdx.x) < count;
    float score[heads], largest[heads], weight[heads];
#pragma unroll
    for (int h = 0; h < heads; ++h)
      largest[h] = score[h] = is_key ? scores[h * kChunk + threadIdx.x] : -scalar::kInfinity;
    fold_threads(largest, partial, [](float x, float y) { return scalar::maximum(x, y); });
#pragma unroll
    for (int h = 0; h < heads; ++h) {
      const float from = largest[h] == -scalar::kInfinity ? 0.0f : largest[h];
      scores[h * kChunk + threadIdx.x] = weight[h] = is_key ? scalar::exp(score[h] - from) : 0.0f;
    }
    fold_threads(weight, partial, [](float x, float y) { return x + y; });
#pragma unroll
    for (int h = 0; h < heads; ++h) states[h] = {largest[h], weight[h]};
  }

  void put_scores(const byte* k, int64_t first, int count) {
    const int lane = threadIdx.x % kLanesPerKey;
    const int64_t base = kv_head * a.k[1];
    const auto scale = static_cast<float>(a.scale);
    auto element = [&](int turn) { return (turn * kLanesPerKey + lane) * kPack; };
    constexpr int kKeysPerTurn = kChunk / kLanesPerKey;
#pragma unroll 1
    for (int j = threadIdx.x / kLanesPerKey; j < kChunk; j += kKeysAtOnce * kKeysPerTurn) {
      float sums[kKeysAtOnce][heads] = {};
#pragma unroll 1
      for (int turn = 0; turn < kTurns; turn += kTurnsAtOnce) {
        Taken e[kKeysAtOnce][kTurnsAtOnce];
#pragma unroll
        for (int n = 0; n < kKeysAtOnce; ++n) {
          const int key = min_of(j + n * kKeysPerTurn, count - 1);  // there is nothing to read after the last
          const int64_t at = base + (first + key) * a.k[0];
#pragma unroll
          for (int t = 0; t < kTurnsAtOnce; ++t)
            if (const int d = element(turn + t); d < width)
              e[n][t].read(k, at + d * a.k[2], a.k[2], width - d);
        }
#pragma unroll
        for (int t = 0; t < kTurnsAtOnce; ++t)
          if (const int d = element(turn + t); d < width)
#pragma unroll
            for (int i = 0; i < kPack; ++i)
              if (is_element(d, i))
#pragma unroll
                for (int h = 0; h < heads; ++h) {
                  const float of_query = q[h * width + d + i];
#pragma unroll
                  for (int n = 0; n < kKeysAtOnce; ++n) sums[n][h] += of_query * e[n][t].get(i);
                }
      }
#pragma unroll
      for (int n = 0; n < kKeysAtOnce; ++n)
#pragma unroll
        for (int h = 0; h < heads; ++h) {
          float sum = sums[n][h];
          for (int distance = kLanesPerKey / 2; distance > 0; distance /= 2)
            sum += __shfl_xor_sync(kWholeWarp, sum, distance);
          if (lane == 0) scores[h * kChunk + j + n * kKeysPerTurn] = sum * scale;
        }
    }
    __syncthreads();
  }

  // This thread's elements of a value: from d on, of every kGroups-th value from `group` on.
  static int group() { return threadIdx.x / lanes; }
  static int first_element() { return threadIdx.x % lanes * kPack; }
  void read_value(Taken& e, const byte* v, int64_t first, int j, int d) const {
    e.read(v, kv_head * a.v[1] + (first + j) * a.v[0] + d * a.v[2], a.v[2], width - d);
  }

  // Asks for the first values of a chunk.
  void read_ahead(const byte* v, int64_t first, int count) {
    const int d = first_element();
#pragma unroll
    for (int n = 0; n < kAhead; ++n)
      if (d < width) read_value(ahead[n], v, first, min_of(group() + n * kGroups, count - 1), d);
  }

  // The weighted sum of one chunk's values: put(number, head, element, sum) for this thread's elements.
  // `is_ahead`: after read_ahead.
  template <bool is_ahead, class Put>
  void weighted_sum(const byte* v, int64_t first, int count, Put put) {
    for (int d = first_element(); d < width; d += lanes * kPack) {
      float sums[heads][kPack] = {};
      auto add = [&](const Taken& e, int j) {
#pragma unroll
        for (int h = 0; h < heads; ++h) {
          const float weight = scores[h * kChunk + j];
#pragma unroll
          for (int i = 0; i < kPack; ++i)
            if (is_element(d, i)) sums[h][i] += weight * e.get(i);
        }
      };
      if constexpr (is_ahead) {
#pragma unroll
        for (int n = 0; n < kAhead; ++n)
          if (const int j = group() + n * kGroups; j < count) add(ahead[n], j);
      }
      if constexpr (!is_ahead || kAhead < kPerGroup) {
#pragma unroll 4
        for (int j = group() + (is_ahead ? kAhead * kGroups : 0); j < count; j += kGroups) {
          Taken e;
          read_value(e, v, first, j, d);
          add(e, j);
        }
      }
#pragma unroll
      for (int h = 0; h < heads; ++h)
#pragma unroll
        for (int i = 0; i < kPack; ++i)
          if (is_element(d, i)) partial[(h * kGroups + group()) * width + d + i] = sums[h][i];
    }
    __syncthreads();
    each_element([&](int i, int h, int d) {
      float sum = 0;
      for (int g = 0; g < kGroups; ++g) sum += partial[(h * kGroups + g) * width + d];
      put(i, h, d, sum);
    });
    __syncthreads();
  }

  static int size_of_chunk(int64_t seen, int64_t first) {
    return seen - first < kChunk ? static_cast<int>(seen - first) : kChunk;
  }

  // A query that sees no key gives zeros.
  void put(byte* out, int h, int d, float weighted, float sum) const {
    store<E>(out, query * a.out[0] + (first_head + h) * a.out[1] + d * a.out[2],
             seen > 0 ? weighted / sum : 0.0f);
  }

  // All chunks of the heads.
  static void whole(const byte* q, const byte* k, const byte* v, const byte* positions, byte* out,
                    const Attention& a) {
    Attending row(a, positions, blockIdx.x);
    row.load_query(q);
    State states[heads];
    for (int64_t chunk = 0; chunk < row.chunks_seen(); ++chunk) {
      const int64_t first = chunk * kChunk;
      const int count = size_of_chunk(row.seen, first);
      State added[heads];
      row.weigh(k, first, count, added);
      Joint joint[heads];
#pragma unroll
      for (int h = 0; h < heads; ++h) states[h] = (joint[h] = join(states[h], added[h])).state;
      row.template weighted_sum<false>(v, first, count, [&](int i, int h, int, float sum) {
        row.result[i] = row.result[i] * joint[h].left + sum * joint[h].right;
      });
    }
    each_element([&](int i, int h, int d) { row.put(out, h, d, row.result[i], states[h].sum); });
  }

  // One chunk: the heads' states and sums go to `parts` [rows, chunks, 2 + width]. Who counts the last one
  // joins them; the counters behind the parts are zeros before and after.
  static void part(const byte* q, const byte* k, const byte* v, const byte* positions, byte* out,
                   byte* scratch, const Attention& a) {
    const auto chunks = static_cast<uint32_t>(a.chunks), number = blockIdx.x / chunks,
               chunk = blockIdx.x % chunks;
    Attending row(a, positions, number);
    const int64_t seen = row.chunks_seen();
    if (chunk >= seen) {
      if (chunk == 0) each_element([&](int, int h, int d) { row.put(out, h, d, 0, 1); });
      return;
    }
    const int64_t first = static_cast<int64_t>(chunk) * kChunk;
    const int count = size_of_chunk(row.seen, first);
    row.read_ahead(v, first, count);
    row.load_query(q);
    State states[heads];
    row.weigh(k, first, count, states);
    float* const parts = reinterpret_cast<float*>(scratch);
    auto part_of = [&](int h, int64_t c) {
      return parts + ((row.query * a.heads + row.first_head + h) * a.chunks + c) * (2 + width);
    };
    row.template weighted_sum<true>(v, first, count,
                                    [&](int, int h, int d, float sum) { part_of(h, chunk)[2 + d] = sum; });
    if (threadIdx.x == 0)
#pragma unroll
      for (int h = 0; h < heads; ++h) {
        part_of(h, chunk)[0] = states[h].largest;
        part_of(h, chunk)[1] = states[h].sum;
      }
    auto* const counters = reinterpret_cast<uint32_t*>(parts + a.queries * a.heads * a.chunks * (2 + width));
    if (!is_last(counters + number, static_cast<uint32_t>(seen))) return;
    row.join_parts(part_of, seen, out);
  }

  // As `join` joins them one after the other. How much each adds follows from the largest score up to it, so
  // a warp per head finds the factors of 32 parts at once.
  template <class PartOf>
  void join_parts(PartOf part_of, int64_t count, byte* out) const {
    constexpr int kMine = (heads * width + kChunk - 1) / kChunk, kTile = 32;
    static_assert(heads <= kWarps);
    float weighted[kMine] = {};
    State state;  // of this warp's head
    float *const left = scores, *const right = scores + heads * kTile, *const sums = partial;
    for (int64_t first = 0; first < count; first += kTile) {
      const int parts = count - first < kTile ? static_cast<int>(count - first) : kTile;
      const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
      if (warp < heads) {
        const Joint joint = join_tile(state, part_of(warp, first + min_of(lane, parts - 1)), parts);
        left[warp * kTile + lane] = joint.left;
        right[warp * kTile + lane] = joint.right;
        sums[warp] = (state = joint.state).sum;
      }
      __syncthreads();
#pragma unroll 8
      for (int c = 0; c < parts; ++c)
#pragma unroll
        for (int m = 0; m < kMine; ++m)
          if (const int i = m * kChunk + static_cast<int>(threadIdx.x), h = i / width; i < heads * width)
            weighted[m] = weighted[m] * left[h * kTile + c] +
                          __ldcg(part_of(h, first + c) + 2 + i % width) * right[h * kTile + c];
      __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < kMine; ++m)
      if (const int i = m * kChunk + static_cast<int>(threadIdx.x); i < heads * width)
        put(out, i / width, i % width, weighted[m], sums[i / width]);
  }

  // By a warp: the lane's factors, and the state after `parts` of them.
  static Joint join_tile(const State& before, const float* part, int parts) {
    constexpr float nothing = -scalar::kInfinity;
    const int lane = threadIdx.x % 32;
    const State added{__ldcg(part), __ldcg(part + 1)};
    float largest = added.largest;
    for (int distance = 1; distance < 32; distance *= 2) {
      const float other = __shfl_up_sync(kWholeWarp, largest, distance);
      if (lane >= distance) largest = scalar::maximum(other, largest);
    }
    largest = scalar::maximum(before.largest, largest);
    float previous = __shfl_up_sync(kWholeWarp, largest, 1);
    if (lane == 0) previous = before.largest;
    const float left = previous == nothing ? 0.0f : scalar::exp(previous - largest);
    const float right = added.largest == nothing ? 0.0f : scalar::exp(added.largest - largest);
    float sum = before.sum;
    for (int c = 0; c < parts; ++c)
      sum = sum * __shfl_sync(kWholeWarp, left, c) +
            __shfl_sync(kWholeWarp, added.sum, c) * __shfl_sync(kWholeWarp, right, c);
    return {{__shfl_sync(kWholeWarp, largest, parts - 1), sum}, left, right};
  }

  // Whether `count` - 1 other thread blocks have come here before, whose writes can be seen then.
  static bool is_last(uint32_t* counter, uint32_t count) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last = atomicInc(counter, count - 1) == count - 1;
    __syncthreads();
    __threadfence();
    return last;
  }
};

}  // namespace peri::kernels::cuda
