// Algorithms through NVLink multicast (multicast.hpp): one load reduces a word of all members in the switch,
// one store reaches all of them. Blocks and words are laid out as in direct.cuh. Whole aligned words go
// through the switch; the bytes after them, and operands that lie across words, through the members' ordinary
// mappings in the order of the group, so any count and any place work.
//
// Arithmetic: the switch sums f16 and bf16 in f32 and rounds the sum, which overflows where it is too large
// for the type; a mean divides it and rounds once more. In which order it sums, and what min and max make of
// a NaN, PTX does not say: the results of floats may differ from other algorithms' and from run to run.
// Integers are the same.
//
// Memory order: a member's memory has two addresses here, and accesses through one are ordered with accesses
// through the other only by a proxy fence on both sides of the synchronisation between them (CUDA programming
// guide, virtual aliasing). Every kernel meets after its last access through multicast, whether an end
// barrier is asked for or not: when it has ended on one member, no member reaches that one's memory through
// multicast any more, and the member may unbind it.
#include "kernels/cuda/collectives/direct.cuh"

namespace peri::kernels::cuda {
namespace {

__device__ void barrier_across_aliases(const CollectiveArguments& a, uint32_t epoch, Phase phase) {
  asm volatile("fence.proxy.alias;" ::: "memory");
  group_barrier(a, epoch, phase);
  asm volatile("fence.proxy.alias;" ::: "memory");
}

// Whether a wait has failed: the block's threads agree on it. Then members may be missing behind the
// multicast address, so nothing is stored or loaded through it.
__device__ bool any_failed(const CollectiveArguments& a) {
  return __syncthreads_or(*reinterpret_cast<const volatile uint32_t*>(a.watch.failed) != 0);
}

#define PERI_LOAD_REDUCED(what)                                                         \
  asm volatile("multimem.ld_reduce.relaxed.sys.global." what " {%0, %1, %2, %3}, [%4];" \
               : "=r"(word.x), "=r"(word.y), "=r"(word.z), "=r"(word.w)                 \
               : "l"(address)                                                           \
               : "memory")
// PTX has no vectors of integers: four of 32 bits, or two of 64.
#define PERI_LOAD_REDUCED_32(what)                                             \
  asm volatile("multimem.ld_reduce.relaxed.sys.global." what                   \
               " %0, [%4];\n\t"                                                \
               "multimem.ld_reduce.relaxed.sys.global." what                   \
               " %1, [%4 + 4];\n\t"                                            \
               "multimem.ld_reduce.relaxed.sys.global." what                   \
               " %2, [%4 + 8];\n\t"                                            \
               "multimem.ld_reduce.relaxed.sys.global." what " %3, [%4 + 12];" \
               : "=&r"(word.x), "=&r"(word.y), "=&r"(word.z), "=&r"(word.w)    \
               : "l"(address)                                                  \
               : "memory")
#define PERI_LOAD_REDUCED_64(what)                                 \
  asm volatile(                                                    \
      "{\n\t"                                                      \
      ".reg .b64 low, high;\n\t"                                   \
      "multimem.ld_reduce.relaxed.sys.global." what                \
      " low, [%4];\n\t"                                            \
      "multimem.ld_reduce.relaxed.sys.global." what                \
      " high, [%4 + 8];\n\t"                                       \
      "mov.b64 {%0, %1}, low;\n\t"                                 \
      "mov.b64 {%2, %3}, high;\n\t"                                \
      "}"                                                          \
      : "=&r"(word.x), "=&r"(word.y), "=&r"(word.z), "=&r"(word.w) \
      : "l"(address)                                               \
      : "memory")

// A word of all members, reduced by the switch: what `multimem_has` says; a mean as its sum.
template <Element element, Reduction reduction>
__device__ uint4 load_reduced(const std::byte* address) {
  static_assert(multimem_has(element, reduction) && reduction != Reduction::avg);
  constexpr bool is_sum = reduction == Reduction::sum, is_min = reduction == Reduction::min;
  uint4 word;
  if constexpr (element == Element::f32)
    PERI_LOAD_REDUCED("add.v4.f32");
  else if constexpr (element == Element::f16 && is_sum)
    PERI_LOAD_REDUCED("add.acc::f32.v4.f16x2");
  else if constexpr (element == Element::f16 && is_min)
    PERI_LOAD_REDUCED("min.v4.f16x2");
  else if constexpr (element == Element::f16)
    PERI_LOAD_REDUCED("max.v4.f16x2");
  else if constexpr (element == Element::bf16 && is_sum)
    PERI_LOAD_REDUCED("add.acc::f32.v4.bf16x2");
  else if constexpr (element == Element::bf16 && is_min)
    PERI_LOAD_REDUCED("min.v4.bf16x2");
  else if constexpr (element == Element::bf16)
    PERI_LOAD_REDUCED("max.v4.bf16x2");
  else if constexpr (element == Element::i32 && is_sum)
    PERI_LOAD_REDUCED_32("add.s32");
  else if constexpr (element == Element::i32 && is_min)
    PERI_LOAD_REDUCED_32("min.s32");
  else if constexpr (element == Element::i32)
    PERI_LOAD_REDUCED_32("max.s32");
  else if constexpr (is_sum)
    PERI_LOAD_REDUCED_64("add.u64");  // the same bits as of signed numbers
  else if constexpr (is_min)
    PERI_LOAD_REDUCED_64("min.s64");
  else
    PERI_LOAD_REDUCED_64("max.s64");
  return word;
}
#undef PERI_LOAD_REDUCED
#undef PERI_LOAD_REDUCED_32
#undef PERI_LOAD_REDUCED_64

// A word to the same place of all members, this one included. Its type moves bits only.
__device__ void store_to_all(std::byte* address, uint4 word) {
  asm volatile("multimem.st.relaxed.sys.global.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(word.x),
               "r"(word.y), "r"(word.z), "r"(word.w)
               : "memory");
}

// How many words of `length` bytes of a part go through the switch: the first ones. The same on all members,
// whose operands lie at the same offset.
__device__ int64_t switched_words(const CollectiveArguments& a, int64_t length) {
  return reinterpret_cast<uintptr_t>(a.multicast) % kWord == 0 ? length / kWord : 0;
}

// Calls f<reduction>() with what the switch has to do.
template <Element element, class F>
__device__ void with_switch_reduction(Reduction reduction, F f) {
  if constexpr (multimem_has(element, Reduction::min)) {
    if (reduction == Reduction::min) return f.template operator()<Reduction::min>();
    if (reduction == Reduction::max) return f.template operator()<Reduction::max>();
  }
  f.template operator()<Reduction::sum>();
}

// Calls store(i, word, switched) with the thread's words i of `length` bytes from position `at`, whole words
// in multicast's alignment, of all members' operands, reduced.
template <Element element, class Store>
__device__ void reduce_operands(const CollectiveArguments& a, int64_t at, int64_t length, Store store) {
  const int64_t switched = switched_words(a, length), step = word_step();
  with_switch_reduction<element>(a.reduction, [&]<Reduction reduction>() {
    for_each_word<4>(switched, [&]<int n>(int64_t i) {
      uint4 words[n];
#pragma unroll
      for (int k = 0; k < n; ++k)
        words[k] = load_reduced<element, reduction>(a.multicast + at + (i + k * step) * kWord);
#pragma unroll
      for (int k = 0; k < n; ++k) {
        if (a.reduction == Reduction::avg) {
          Accumulator<element, uint4> sum;
          sum.begin(words[k]);
          words[k] = sum.result(Reduction::avg, a.group.members);
        }
        store(i + k * step, words[k], true);
      }
    });
  });
  reduce_words<element, 0, false>(a, at + switched * kWord, length - switched * kWord,
                                  [&](int64_t i, uint4 word) { store(switched + i, word, false); });
}

template <Element element>
__global__ void __launch_bounds__(kThreads, 1)
    multimem_one_shot_kernel(const __grid_constant__ CollectiveArguments a) {
  const uint32_t before = current_epoch(a.group);
  barrier_across_aliases(a, before + 1, kStart);
  advance_epoch(a.group, before, 2);
  if (any_failed(a)) return;
  const PartMemory output = PartMemory::of<uint4>(a.output, a.to[a.group.me]);
  reduce_operands<element>(a, 0, a.length, [&](int64_t i, uint4 word, bool) {
    store_word<element, uint4>(output, i * kWord, a.length - i * kWord, word);
  });
  barrier_across_aliases(a, before + 2, kEnd);
}

template <Element element>
__global__ void __launch_bounds__(kThreads, 1)
    multimem_split_kernel(const __grid_constant__ CollectiveArguments a) {
  const int members = a.group.members, me = a.group.me;
  const uint32_t before = current_epoch(a.group);
  barrier_across_aliases(a, before + 1, kStart);
  advance_epoch(a.group, before, 2);
  if (any_failed(a)) return;
  auto operand = [&](int m) { return PartMemory::of<uint4>(a.symmetric[m], a.from[me]); };
  const int64_t begin = part_begin(a, me), length = part_begin(a, me + 1) - begin;
  reduce_operands<element>(a, begin, length, [&](int64_t i, uint4 word, bool switched) {
    if (switched) return store_to_all(a.multicast + begin + i * kWord, word);
    for (int m = 0; m < members; ++m)
      store_word<element, uint4>(operand(m), begin + i * kWord, length - i * kWord, word);
  });
  barrier_across_aliases(a, before + 2, kMiddle);
  if (a.output == a.symmetric[me]) return;
  // Each word by the block that has met the one that made it: counted as there.
  const PartMemory output = PartMemory::of<uint4>(a.output, a.to[me]);
  for (int m = 0; m < members; ++m) {
    const int64_t from = part_begin(a, m), bytes = part_begin(a, m + 1) - from;
    const int64_t switched = switched_words(a, bytes) * kWord;
    copy_words<element, false>(output, operand(me), from, switched);
    copy_words<element, false>(output, operand(me), from + switched, bytes - switched);
  }
}

template <Element element>
__global__ void __launch_bounds__(kThreads, 1)
    multimem_gather_kernel(const __grid_constant__ CollectiveArguments a) {
  const int me = a.group.me;
  const uint32_t before = current_epoch(a.group);
  barrier_across_aliases(a, before + 1, kStart);
  advance_epoch(a.group, before, 2);
  if (any_failed(a)) return;
  const PartMemory input = PartMemory::of<uint4>(a.input, a.from[me]);
  const PartMemory target = PartMemory::of<uint4>(a.multicast, a.to[me]);
  const int64_t switched = target.aligned ? a.length / kWord : 0, step = word_step();
  for_each_word<4>(switched, [&]<int n>(int64_t i) {
    uint4 words[n];
#pragma unroll
    for (int k = 0; k < n; ++k) words[k] = load_word<element, uint4>(input, (i + k * step) * kWord, kWord);
#pragma unroll
    for (int k = 0; k < n; ++k) store_to_all(target.at((i + k * step) * kWord), words[k]);
  });
  const int64_t at = switched * kWord;
  for (int m = 0; m < a.group.members; ++m)
    copy_words<element, false>(PartMemory::of<uint4>(a.symmetric[m], a.to[me]), input, at, a.length - at);
  barrier_across_aliases(a, before + 2, kMiddle);
}

// Calls launch<element>() for an element that the switch has the reduction of; the caller has asked for no
// other.
template <class Launch>
cudaError_t with_switch_element(const CollectiveArguments& a, Launch launch) {
  if (!multimem_has(a.element, a.reduction)) return cudaErrorNotSupported;
  with_element(a.element, [&]<Element element>() {
    if constexpr (element != Element::u8) launch.template operator()<element>();
    return 0;
  });
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_multimem_one_shot(const CollectiveArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(words_of(a.length), a.group);
  return with_switch_element(
      a, [&]<Element element>() { multimem_one_shot_kernel<element><<<blocks, kThreads, 0, stream>>>(a); });
}

cudaError_t launch_multimem_split(const CollectiveArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(words_of(a.length) / a.group.members, a.group);
  return with_switch_element(
      a, [&]<Element element>() { multimem_split_kernel<element><<<blocks, kThreads, 0, stream>>>(a); });
}

cudaError_t launch_multimem_gather(const CollectiveArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(words_of(a.length), a.group);
  with_element(a.element, [&]<Element element>() {
    multimem_gather_kernel<element><<<blocks, kThreads, 0, stream>>>(a);
    return 0;
  });
  return cudaGetLastError();
}

}  // namespace peri::kernels::cuda
