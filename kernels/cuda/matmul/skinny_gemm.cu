// Matrix products of few rows, whose time is that of reading b once: b streams from memory straight into the
// registers that the tensor cores take, each element loaded by one thread of one block, and nothing waits in
// shared memory.
//
// A cluster of blocks computes 64 columns of c; its warps share k. A warp takes 32 of k at a time ("a step"):
// thread (g, t) of it, g = lane / 4 and t = lane % 4, loads 8 vectors of 8 elements of b, at k = 8 t .. 8 t
// + 7. The product is computed as c^T = b^T a^T by m16n8k16 with b as the first operand, because that has 16
// rows to fill and a may have one. The instruction sums over k, so any order of k does if both operands
// agree; the one chosen makes a thread's own vectors its fragment. While a step is multiplied, the next is on
// its way: 8 to 16 loads of 16 bytes per thread, 64 to 128 KB per multiprocessor.
//
// Sums are in f32 and in a fixed order: along k in a warp, over the warps of a block, over the blocks of the
// cluster, which push their sums into the shared memory of the block that rounds and stores them (one block
// alone stores them at once). So the bits depend on shapes and the kind of device only. The only waits are
// barriers of a block and of a cluster, whose blocks run at the same time.
#include "kernels/cuda/matmul/skinny_gemm.hpp"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <type_traits>

#include "kernels/cuda/programmatic.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int kWarps = 16, kThreads = kWarps * 32, kStep = 32;  // kStep: of k
static_assert(kWarps * kStep == kSkinnyDepth);
constexpr int kUnrequestedShared = 48 * 1024;

struct Arguments {
  const uint16_t *a, *b;
  uint16_t* c;
  int m, n, k, cluster_log2;
  int64_t lda, ldb, ldc;
};

__host__ __device__ constexpr int log2_of(int power) {
  return power == 1 ? 0 : 1 + log2_of(power / 2);
}

// Eight elements: four registers.
struct Vector {
  uint32_t word[4];
};

// Of memory that is read once; zeros if not `is_valid`. Not for what other threads of the kernel write.
template <bool kAligned>
__device__ __forceinline__ Vector stream(const uint16_t* at, bool is_valid) {
  Vector v;
  if constexpr (kAligned) {
    asm volatile(
        "{\n"
        ".reg .pred valid;\n"
        "setp.ne.b32 valid, %5, 0;\n"
        "mov.b32 %0, 0;\n"
        "mov.b32 %1, 0;\n"
        "mov.b32 %2, 0;\n"
        "mov.b32 %3, 0;\n"
        "@valid ld.global.nc.L1::no_allocate.L2::128B.v4.b32 {%0, %1, %2, %3}, [%4];\n"
        "}"
        : "=r"(v.word[0]), "=r"(v.word[1]), "=r"(v.word[2]), "=r"(v.word[3])
        : "l"(at), "r"(static_cast<int>(is_valid)));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      v.word[i] = is_valid ? at[2 * i] | static_cast<uint32_t>(at[2 * i + 1]) << 16 : 0;
  }
  return v;
}

// Of memory that other blocks read, too.
template <bool kAligned>
__device__ __forceinline__ Vector fetch(const uint16_t* at, bool is_valid) {
  if constexpr (!kAligned) return stream<kAligned>(at, is_valid);
  uint4 v = make_uint4(0, 0, 0, 0);
  if (is_valid) v = *reinterpret_cast<const uint4*>(at);
  return {{v.x, v.y, v.z, v.w}};
}

// d += a b: 16 x 16 by 16 x 8.
template <class Element>
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1) {
  if constexpr (std::is_same_v<Element, __nv_bfloat16>)
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ uint16_t rounded(float value, __nv_bfloat16) {
  return __bfloat16_as_ushort(__float2bfloat16_rn(value));
}
__device__ uint16_t rounded(float value, __half) {
  return __half_as_ushort(__float2half_rn(value));
}

// One warp's share of 64 columns. `kTiles` tiles of 8 rows of a.
template <class Element, bool kTransposed, int kTiles, bool kAligned>
struct TileLoader {
  struct Step {
    Vector b[8], a[kTiles];
  };
  // [4 tiles of 16 columns][tile of 8 rows][the instruction's accumulators]
  float sums[4][kTiles][4] = {};
  // Where this thread's part of the next step lies, and how many of k, columns and rows there are from it on.
  // Not transposed: vector i of b is of row k + i, columns 8 g .. 8 g + 7. Transposed: of column 8 i + g.
  const uint16_t *b, *a;
  int depth_b, depth_a, columns, rows;

  __device__ TileLoader(const Arguments& x, int64_t column, int step) {
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int64_t k = int64_t(step) * kStep + 8 * t, n = column + (kTransposed ? g : 8 * g);
    b = kTransposed ? x.b + n * x.ldb + k : x.b + k * x.ldb + n;
    a = x.a + g * x.lda + k;
    depth_b = depth_a = static_cast<int>(x.k - k);
    columns = static_cast<int>(x.n - n);
    rows = x.m - g;
  }

  __device__ __forceinline__ void load_b(Step& step, const Arguments& x) {
    const int open = depth_b > 0 ? columns : 0;
#pragma unroll
    for (int i = 0; i < 8; ++i)
      step.b[i] =
          stream<kAligned>(b + i * (kTransposed ? 8 * x.ldb : x.ldb), open > (kTransposed ? 8 * i : 0));
    b += kTransposed ? kStep : kStep * x.ldb;
    depth_b -= kStep;
  }
  __device__ __forceinline__ void load_a(Step& step, const Arguments& x) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
      step.a[tile] = fetch<kAligned>(a + tile * 8 * x.lda, depth_a > 0 && rows > 8 * tile);
    a += kStep;
    depth_a -= kStep;
  }

  // Half `h` of a step: a thread's k is 8 t + 4 h .. 8 t + 4 h + 3, the instruction's 2 t, 2 t + 1, 2 t + 8
  // and 2 t + 9. Its rows g and g + 8 in tile j are the columns that `column_of` gives.
  __device__ __forceinline__ void multiply(const Step& step) {
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        uint32_t b[4];
#pragma unroll
        for (int pair = 0; pair < 2; ++pair) {
          if constexpr (kTransposed) {
            b[2 * pair] = step.b[2 * j].word[2 * h + pair];
            b[2 * pair + 1] = step.b[2 * j + 1].word[2 * h + pair];
          } else {  // two rows' elements of one column side by side
            const uint32_t first = step.b[4 * h + 2 * pair].word[j],
                           second = step.b[4 * h + 2 * pair + 1].word[j];
            b[2 * pair] = __byte_perm(first, second, 0x5410);
            b[2 * pair + 1] = __byte_perm(first, second, 0x7632);
          }
        }
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile)
          multiply_add<Element>(sums[j][tile], b, step.a[tile].word[2 * h], step.a[tile].word[2 * h + 1]);
      }
  }

  static __device__ int column_of(int j, int half) {
    const int g = threadIdx.x % 32 / 4;
    return kTransposed ? 16 * j + 8 * half + g : 8 * g + 2 * j + half;
  }

  // Adds up the products of `count` steps. The kernel before may still be running, and b may come; a and c
  // are its business until it has ended.
  __device__ __forceinline__ void run(const Arguments& x, int count) {
    Step even, odd;
    auto load = [&](Step& step) {
      load_b(step, x);
      load_a(step, x);
    };
    if (count > 0) load_b(even, x);
    if (count > 1) load_b(odd, x);
    asm volatile("griddepcontrol.wait;" ::: "memory");
    if (count > 0) load_a(even, x);
    if (count > 1) load_a(odd, x);
    for (; count > 0; count -= 2) {
      multiply(even);
      if (count > 2) load(even);
      if (count > 1) multiply(odd);
      if (count > 3) load(odd);
    }
  }
};

// Where column n of a row of sums lies in shared memory: a warp's threads, which store columns of 4 rows, and
// those that read 32 columns of one row, all use different banks.
template <bool kTransposed>
struct Partial {
  static constexpr int kRow = kTransposed ? 68 : 65;
  static __device__ int at(int row, int n) { return row * kRow + n + n / 32; }
};

// Shared memory: each warp's sums [m][64], then what each block of the cluster sends.
template <bool kTransposed>
__host__ __device__ constexpr int partial_floats(int m) {
  return kWarps * m * Partial<kTransposed>::kRow;
}
__host__ __device__ constexpr int received_floats(int m, int cluster_log2) {  // from each block, at most
  return ((2 * m - 1) >> cluster_log2) * 32 + 32;
}

// What a block of a cluster is told by others: a count of bytes that their stores complete. (A barrier of the
// cluster would do, but its release waits for all of a block's memory accesses.)
struct Inbox {
  uint32_t barrier;  // addresses in shared memory
  __device__ explicit Inbox(uint64_t* memory)
      : barrier(static_cast<uint32_t>(__cvta_generic_to_shared(memory))) {}

  // One thread; others of the cluster may send once they have passed `wait_for_cluster`.
  __device__ void open(int bytes) const {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
                 : "memory");
  }
  // To the same place, and inbox, of another block.
  __device__ void send(const float* place, float value, int block) const {
    const auto local = static_cast<uint32_t>(__cvta_generic_to_shared(place));
    uint32_t remote, remote_barrier;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(local), "r"(block));
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote_barrier) : "r"(barrier), "r"(block));
    asm volatile(
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(remote),
        "r"(__float_as_uint(value)), "r"(remote_barrier)
        : "memory");
  }
  __device__ void wait() const {
    uint32_t is_complete = 0;
    while (!is_complete)
      asm volatile(
          "{\n"
          ".reg .pred done;\n"
          "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%1], 0;\n"
          "selp.b32 %0, 1, 0, done;\n"
          "}"
          : "=r"(is_complete)
          : "r"(barrier)
          : "memory");
  }
};

// All threads of all blocks: `arrive`, then `wait_for_cluster`.
__device__ void arrive() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}
__device__ void wait_for_cluster() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// A thread's sums to its warp's place in shared memory.
template <class Element, bool kTransposed, int kTiles, bool kAligned>
__device__ __forceinline__ void put_partials(const TileLoader<Element, kTransposed, kTiles, kAligned>& stream,
                                             int rows, float* of_warp) {
  const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int row = 8 * tile + 2 * t + i;
      if (row >= rows) continue;
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          of_warp[Partial<kTransposed>::at(row, stream.column_of(j, half))] =
              stream.sums[j][tile][2 * half + i];
    }
}

template <class Element, bool kTransposed, int kTiles, bool kAligned>
__global__ void __launch_bounds__(kThreads, 1) skinny(const Arguments x) {
  extern __shared__ float shared[];
  __shared__ uint64_t inbox_memory;
  const Inbox inbox(&inbox_memory);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32;
  const int block = static_cast<int>(blockIdx.y), blocks = 1 << x.cluster_log2;  // of the cluster
  // Of the runs of 32 sums that this block rounds and stores: 2 m run over all, dealt in turn.
  const int runs = (2 * x.m + blocks - 1 - block) >> x.cluster_log2;
  asm volatile("griddepcontrol.launch_dependents;");
  if (thread == 0) inbox.open(runs * 32 * blocks * static_cast<int>(sizeof(float)));
  __syncwarp();
  arrive();

  const int64_t column = static_cast<int64_t>(blockIdx.x) * kSkinnyColumns;
  const auto steps = static_cast<uint32_t>(x.k + kStep - 1) / kStep;
  const uint32_t part = block * kWarps + warp;
  const int shift = x.cluster_log2 + log2_of(kWarps);
  const auto begin = static_cast<int>(steps * part >> shift),
             end = static_cast<int>(steps * (part + 1) >> shift);
  TileLoader<Element, kTransposed, kTiles, kAligned> stream(x, column, begin);
  stream.run(x, end - begin);

  using Place = Partial<kTransposed>;
  const int per_warp = x.m * Place::kRow;
  put_partials(stream, x.m, shared + warp * per_warp);
  __syncthreads();

  wait_for_cluster();
  float* const received = shared + partial_floats<kTransposed>(x.m);
  const int per_block = received_floats(x.m, x.cluster_log2);
  auto store = [&](int i, float sum) {
    const int64_t n = column + i % kSkinnyColumns;
    if (n < x.n) x.c[i / kSkinnyColumns * x.ldc + n] = rounded(sum, Element());
  };
#pragma unroll 1
  for (int i = thread; i < x.m * kSkinnyColumns; i += kThreads) {
    const float* from = shared + Place::at(i / kSkinnyColumns, i % kSkinnyColumns);
    float sum = from[0];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) sum += from[w * per_warp];
    const int run = i / 32;
    if (blocks == 1)
      store(i, sum);
    else
      inbox.send(received + block * per_block + (run >> x.cluster_log2) * 32 + i % 32, sum,
                 run & (blocks - 1));
  }
  if (blocks == 1) return;

  // Then nobody writes here any more, and this block may end.
  if (runs > 0) inbox.wait();
#pragma unroll 1
  for (int i = thread; i < runs * 32; i += kThreads) {
    float sum = received[i];
#pragma unroll 1
    for (int b = 1; b < blocks; ++b) sum += received[b * per_block + i];
    store((((i / 32) << x.cluster_log2) + block) * 32 + i % 32, sum);
  }
}

// Unaligned operands are rare: they share the instance for the most rows, which gives the same bits.
template <class Element, bool kTransposed>
const void* instance(int rows, bool is_aligned) {
  if (!is_aligned) return reinterpret_cast<const void*>(skinny<Element, kTransposed, 2, false>);
  if (rows <= 8) return reinterpret_cast<const void*>(skinny<Element, kTransposed, 1, true>);
  return reinterpret_cast<const void*>(skinny<Element, kTransposed, 2, true>);
}

template <class Element>
const void* instance(const SkinnyGemm& p, bool is_aligned) {
  return p.is_transposed ? instance<Element, true>(p.m, is_aligned)
                         : instance<Element, false>(p.m, is_aligned);
}

const void* instance(const SkinnyGemm& p, bool is_aligned) {
  switch (p.element) {
    case SkinnyElement::f16:
      return instance<__half>(p, is_aligned);
    case SkinnyElement::bf16:
      return instance<__nv_bfloat16>(p, is_aligned);
  }
  return nullptr;
}

int shared_bytes(const SkinnyGemm& p) {
  const int sums = p.is_transposed ? partial_floats<true>(p.m) : partial_floats<false>(p.m);
  return static_cast<int>(sizeof(float)) * (sums + p.cluster * received_floats(p.m, log2_of(p.cluster)));
}

}  // namespace

cudaError_t load_skinny_gemm(const SkinnyGemm& product) {
  for (bool is_aligned : {true, false}) {
    const void* kernel = instance(product, is_aligned);
    cudaFuncAttributes attributes;  // asking for them loads the code
    if (const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel); error != cudaSuccess)
      return error;
    SkinnyGemm most = product;  // other products share the kernel
    most.m = kSkinnyRows;
    most.cluster = kSkinnyCluster;
    if (shared_bytes(most) <= kUnrequestedShared) continue;
    if (const cudaError_t error =
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes(most));
        error != cudaSuccess)
      return error;
  }
  return cudaSuccess;
}

cudaError_t launch_skinny_gemm(const SkinnyGemm& p, const void* a, const void* b, void* c, bool early,
                               cudaStream_t stream) {
  const bool is_aligned = (reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) % 16 == 0;
  Arguments arguments{static_cast<const uint16_t*>(a),
                      static_cast<const uint16_t*>(b),
                      static_cast<uint16_t*>(c),
                      p.m,
                      p.n,
                      p.k,
                      log2_of(p.cluster),
                      p.lda,
                      p.ldb,
                      p.ldc};
  void* parameters[] = {&arguments};
  cudaLaunchAttribute attributes[2]{};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {1, static_cast<unsigned>(p.cluster), 1};
  attributes[1] = begins_early();
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>((p.n + kSkinnyColumns - 1) / kSkinnyColumns),
                        static_cast<unsigned>(p.cluster));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes(p));
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = early ? 2 : 1;
  return cudaLaunchKernelExC(&config, instance(p, is_aligned), parameters);
}

}  // namespace peri::kernels::cuda
