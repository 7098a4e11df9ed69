// Algorithms on symmetric memory: members read each other's inputs in place, or store into them.
#include "kernels/cuda/collectives/direct.cuh"

namespace peri::kernels::cuda {
namespace {

template <Element element, int kMembers, bool kPlain>
__global__ void __launch_bounds__(kThreads, 1) pull_kernel(const __grid_constant__ CollectiveArguments a) {
  uint32_t before;
  if (!takes_part(a, before)) return;
  group_barrier(a, before + 1, kStart);
  advance_epoch(a.group, before, a.end_barrier ? 2 : 1);
  const PartMemory output = PartMemory::of<uint4>(a.output, a.to[a.group.me]);
  if (a.receiver >= 0 && a.receiver != a.group.me)
    copy_words<element, kPlain>(output, PartMemory::of<uint4>(a.symmetric[a.group.me], a.from[a.group.me]), 0,
                                a.length);
  else
    reduce_words<element, kMembers, kPlain>(a, 0, a.length, [&](int64_t i, uint4 word) {
      store_word<element, uint4, kPlain>(output, i * kWord, a.length - i * kWord, word);
    });
  if (a.end_barrier) group_barrier(a, before + 2, kEnd);
}

template <Element element, bool kPlain>
__global__ void __launch_bounds__(kThreads, 1) fetch_kernel(const __grid_constant__ CollectiveArguments a) {
  const int members = a.group.members, me = a.group.me;
  uint32_t before;
  if (!takes_part(a, before)) return;
  group_barrier(a, before + 1, kStart);
  advance_epoch(a.group, before, a.end_barrier ? 2 : 1);
  for (int turn = 0; turn < members; ++turn) {
    const int m = (me + turn) % members;  // not all from the same member at once
    if (a.root >= 0 && m != a.root) continue;
    if (a.symmetric[m] == a.output) continue;  // the root's in-place broadcast
    copy_words<element, kPlain>(PartMemory::of<uint4>(a.output, a.to[m]),
                                PartMemory::of<uint4>(a.symmetric[m], a.from[me]), 0, a.length);
  }
  if (a.end_barrier) group_barrier(a, before + 2, kEnd);
}

template <Element element, int kMembers, bool kPlain>
__global__ void __launch_bounds__(kThreads, 1) split_kernel(const __grid_constant__ CollectiveArguments a) {
  const int members = kMembers > 0 ? kMembers : a.group.members, me = a.group.me;
  const bool pushes = a.output == a.symmetric[me];
  const bool ends = a.end_barrier && !pushes;
  uint32_t before;
  if (!takes_part(a, before)) return;
  const bool passed = group_barrier(a, before + 1, kStart);
  advance_epoch(a.group, before, ends ? 3 : 2);
  if (!passed) return;  // its part would be wrong, and others would take it

  auto operand = [&](int m) { return PartMemory::of<uint4>(a.symmetric[m], a.from[me]); };
  const PartMemory output = PartMemory::of<uint4>(a.output, a.to[me]);
  const int64_t begin = part_begin(a, me), length = part_begin(a, me + 1) - begin;
  reduce_words<element, kMembers, kPlain>(a, begin, length, [&](int64_t i, uint4 word) {
    const int64_t position = begin + i * kWord, bytes = length - i * kWord;
    store_word<element, uint4, kPlain>(output, position, bytes, word);
    for (int turn = 0; turn < members; ++turn) {
      const int m = (me + turn) % members;
      if (pushes ? m != me : m == me) store_word<element, uint4, kPlain>(operand(m), position, bytes, word);
    }
  });
  group_barrier(a, before + 2, kMiddle);
  if (!pushes)
    for (int turn = 1; turn < members; ++turn) {
      const int m = (me + turn) % members;
      copy_words<element, kPlain>(output, operand(m), part_begin(a, m),
                                  part_begin(a, m + 1) - part_begin(a, m));
    }
  if (ends) group_barrier(a, before + 3, kEnd);
}

// Whether all words that the kernel moves are whole and plain. Only how a rank moves its words depends on
// it, not which.
bool moves_whole_words(const CollectiveArguments& a) {
  const PartWindow& from = a.from[a.group.me];
  bool whole = a.length % kWord == 0;
  for (int m = 0; m < a.group.members; ++m)
    whole = whole && PartMemory::of<uint4>(a.symmetric[m], from).plain &&
            PartMemory::of<uint4>(a.output, a.to[m]).plain;
  return whole;
}

}  // namespace

cudaError_t launch_pull(const CollectiveArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(words_of(a.length), a.group);
  const bool whole = moves_whole_words(a);
  if (a.reduction != Reduction::none)
    return with_kernel(a, whole && is_plain(a), [&]<Element element, int kMembers, bool kPlain>() {
      pull_kernel<element, kMembers, kPlain><<<blocks, kThreads, 0, stream>>>(a);
    });
  with_element(a.element, [&]<Element element>() {
    if (whole)
      fetch_kernel<Element::u8, true><<<blocks, kThreads, 0, stream>>>(a);
    else
      fetch_kernel<element, false><<<blocks, kThreads, 0, stream>>>(a);
    return 0;
  });
  return cudaGetLastError();
}

cudaError_t launch_split(const CollectiveArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for(words_of(a.length) / a.group.members, a.group);
  return with_kernel(a, moves_whole_words(a) && is_plain(a),
                     [&]<Element element, int kMembers, bool kPlain>() {
                       split_kernel<element, kMembers, kPlain><<<blocks, kThreads, 0, stream>>>(a);
                     });
}

}  // namespace peri::kernels::cuda
