// Words of operands: what a thread moves at once, of 8 or 16 bytes, at any position of a part. Where a word
// would straddle rows, end after the part, or lie at an odd address, it is put together from elements.
#pragma once

#include "kernels/cuda/collectives/elements.cuh"
#include "kernels/cuda/collectives/grid.cuh"

namespace peri::kernels::cuda {

// An operand of a collective, or a member's, as the words of a part are found in it.
struct PartMemory {
  std::byte* base;
  PartWindow window;
  bool aligned;  // whole words can be moved
  bool plain;    // and they lie one after the other

  template <class Word>
  __host__ __device__ static PartMemory of(const std::byte* base, const PartWindow& window) {
    const bool aligned = is_aligned(base, window, sizeof(Word));
    return {const_cast<std::byte*>(base), window, aligned, aligned && window.row_bytes >= kUnbroken};
  }
  template <bool kPlain = false>
  __device__ std::byte* at(int64_t position) const {
    return base + (kPlain ? window.begin + position : address_in(window, position));
  }
};

template <Element element, class Word>
union WordElements {
  using Memory = typename ElementOf<element>::Memory;
  static constexpr int kCount = sizeof(Word) / sizeof(Memory);
  Word word;
  Memory elements[kCount];
  __device__ WordElements() : word{} {}
};

// The word at a position of the part, of which `bytes` belong to it; the rest is zero. kPlain: the caller
// knows that it is whole and plain.
template <Element element, class Word, bool kPlain = false>
__device__ Word load_word(const PartMemory& from, int64_t position, int64_t bytes) {
  if (kPlain || (from.aligned && bytes >= static_cast<int64_t>(sizeof(Word))))
    return *reinterpret_cast<const Word*>(from.template at<kPlain>(position));
  WordElements<element, Word> packed;
  using Memory = typename decltype(packed)::Memory;
#pragma unroll 1
  for (int i = 0; i * static_cast<int64_t>(sizeof(Memory)) < bytes && i < packed.kCount; ++i)
    packed.elements[i] =
        *reinterpret_cast<const Memory*>(from.at(position + i * static_cast<int64_t>(sizeof(Memory))));
  return packed.word;
}

template <Element element, class Word, bool kPlain = false>
__device__ void store_word(const PartMemory& to, int64_t position, int64_t bytes, Word word) {
  if (kPlain || (to.aligned && bytes >= static_cast<int64_t>(sizeof(Word)))) {
    *reinterpret_cast<Word*>(to.template at<kPlain>(position)) = word;
    return;
  }
  WordElements<element, Word> packed;
  using Memory = typename decltype(packed)::Memory;
  packed.word = word;
#pragma unroll 1
  for (int i = 0; i * static_cast<int64_t>(sizeof(Memory)) < bytes && i < packed.kCount; ++i)
    *reinterpret_cast<Memory*>(to.at(position + i * static_cast<int64_t>(sizeof(Memory)))) =
        packed.elements[i];
}

// Calls body<n>(i) for the thread's words i, i + T, ... of `count`: for kInFlight at a time, then for the
// rest one by one. A body that first loads all its words and then uses them has n in flight.
template <int kInFlight, class Body>
__device__ void for_each_word(int64_t count, Body body) {
  const int64_t step = word_step();
  int64_t i = first_word();
  for (; i + (kInFlight - 1) * step < count; i += kInFlight * step) body.template operator()<kInFlight>(i);
  if (kInFlight > 1)
#pragma unroll 1
    for (; i < count; i += step) body.template operator()<1>(i);
}

// Sums and means have kernels of their own, where their words are whole and plain.
inline bool is_plain(const CollectiveArguments& a) {
  return (a.reduction == Reduction::sum || a.reduction == Reduction::avg) &&
         a.length % static_cast<int64_t>(sizeof(uint4)) == 0;
}

// Calls f<element, members, plain>() for a call's kernel: floats' plain ones know the number of members,
// where it is the usual; the others have 0 for it.
template <class F>
cudaError_t with_kernel(const CollectiveArguments& a, bool plain, F f) {
  with_element(a.element, [&]<Element element>() {
    constexpr bool is_float = element == Element::f32 || element == Element::f16 || element == Element::bf16;
    if (!plain)
      f.template operator()<element, 0, false>();
    else if (is_float && a.group.members == 2)
      f.template operator()<element, is_float ? 2 : 0, true>();
    else if (is_float && a.group.members == 3)
      f.template operator()<element, is_float ? 3 : 0, true>();
    else if (is_float && a.group.members == 4)
      f.template operator()<element, is_float ? 4 : 0, true>();
    else if (is_float && a.group.members == 8)
      f.template operator()<element, is_float ? 8 : 0, true>();
    else
      f.template operator()<element, 0, true>();
    return 0;
  });
  return cudaGetLastError();
}

}  // namespace peri::kernels::cuda
