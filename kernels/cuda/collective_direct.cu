// Algorithms on symmetric memory: members read each other's inputs in place, or store into them.
//
// Threads: thread t of the grid takes words t, t + T, ... of 16 bytes where everything is aligned, else
// elements. Memory order: what the kernels before wrote is published by the release of `arrive` (a kernel's
// end orders it before); every block waits for all members itself. Where a rank waits for its own blocks too,
// the last of them arrives for all. An end barrier says that this rank reads nobody's memory any more.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/wait.cuh"

namespace peri::cuda {
namespace {

// Phases of one call, each with a signature of its own.
enum Phase : uint32_t { kStart, kMiddle, kEnd };

// All members arrive: here one thread of the grid's first block speaks for the rank to each member, and every
// block listens.
__device__ void meet_at_start(const CollectiveArguments& a, uint32_t epoch) {
  const int m = threadIdx.x;
  if (m < a.group.members && m != a.group.me) {
    if (blockIdx.x == 0) arrive(a.group, m, epoch, a.signature + kStart);
    await_member(a.group, a.watch, m, epoch, a.signature + kStart, a.operation);
  }
  __syncthreads();
}

// Ends the kernel: the last block meets the others at `end` if that is another epoch than `reached`.
__device__ void finish_kernel(const CollectiveArguments& a, uint32_t reached, uint32_t end) {
  if (!last_block(&a.group.state->blocks_done)) return;
  const int m = threadIdx.x;
  if (end != reached && m < a.group.members && m != a.group.me) {
    arrive(a.group, m, end, a.signature + kEnd);
    await_member(a.group, a.watch, m, end, a.signature + kEnd, a.operation);
  }
  __syncthreads();
  if (m == 0) a.group.state->epoch = end;
}

template <class Word>
__device__ Word* word_at(std::byte* base, int64_t offset) {
  return reinterpret_cast<Word*>(base + offset);
}

// The word at `offset` of all members' symmetric operands, folded in the order of the group.
template <Element element, class Word>
__device__ Word reduced(const CollectiveArguments& a, int64_t offset) {
  Word words[kMaxMembers];  // all loads are in flight before the first is used
#pragma unroll
  for (int m = 0; m < kMaxMembers; ++m)
    if (m < a.group.members) words[m] = *word_at<Word>(a.symmetric[m], offset);
  Accumulator<element, Word> sum;
  sum.begin(words[0]);
#pragma unroll
  for (int m = 1; m < kMaxMembers; ++m)
    if (m < a.group.members) sum.add(a.reduction, words[m]);
  return sum.result(a.reduction, a.group.members);
}

// Copies `count` words, four in flight; address functions give the byte offsets.
template <class Word, class To, class From>
__device__ void copy_words(int64_t count, To to, From from) {
  constexpr int kInFlight = 4;
  for (int64_t i = first_word(); i < count; i += kInFlight * word_step()) {
    Word words[kInFlight];
#pragma unroll
    for (int k = 0; k < kInFlight; ++k)
      if (i + k * word_step() < count) words[k] = *from(i + k * word_step());
#pragma unroll
    for (int k = 0; k < kInFlight; ++k)
      if (i + k * word_step() < count) *to(i + k * word_step()) = words[k];
  }
}

template <Element element, class Word>
__global__ void __launch_bounds__(kThreads) pull_kernel(const __grid_constant__ CollectiveArguments a) {
  const uint32_t epoch = a.group.state->epoch + 1;
  meet_at_start(a, epoch);
  constexpr int64_t kSize = sizeof(Word);
  const int me = a.group.me;
  const int64_t count = a.length / kSize;
  if (a.reduction != Reduction::none) {
    for (int64_t i = first_word(); i < count; i += word_step())
      *word_at<Word>(a.output, i * kSize) = reduced<element, Word>(a, address_in(a.from[me], i * kSize));
  } else {
    for (int step = 0; step < a.group.members; ++step) {
      const int m = (me + step) % a.group.members;  // not all from the same member at once
      if (a.root >= 0 && m != a.root) continue;
      if (a.symmetric[m] == a.output) continue;  // the root's in-place broadcast
      copy_words<Word>(
          count, [&](int64_t i) { return word_at<Word>(a.output, address_in(a.to[m], i * kSize)); },
          [&](int64_t i) { return word_at<Word>(a.symmetric[m], address_in(a.from[me], i * kSize)); });
    }
  }
  finish_kernel(a, epoch, epoch + (a.end_barrier ? 1 : 0));
}

// Parts are whole cache lines, so that no line is written by two.
__host__ __device__ int64_t part_begin(const CollectiveArguments& a, int member) {
  const int64_t even = (a.length + a.group.members - 1) / a.group.members;
  const int64_t begin = member * ((even + 127) / 128 * 128);
  return begin < a.length ? begin : a.length;
}

template <Element element, class Word>
__global__ void __launch_bounds__(kThreads) split_kernel(const __grid_constant__ CollectiveArguments a) {
  const uint32_t epoch = a.group.state->epoch + 1;
  meet_at_start(a, epoch);
  constexpr int64_t kSize = sizeof(Word);
  const int members = a.group.members, me = a.group.me;
  const bool pushes = a.output == a.symmetric[me];
  const int64_t begin = part_begin(a, me), count = (part_begin(a, me + 1) - begin) / kSize;
  for (int64_t i = first_word(); i < count; i += word_step()) {
    const int64_t offset = begin + i * kSize;
    const Word word = reduced<element, Word>(a, offset);
    for (int step = 0; step < (pushes ? members : 1); ++step)
      *word_at<Word>(a.symmetric[(me + step) % members], offset) = word;
  }
  // The rank has arrived when its last block has; then its blocks, too, may read what the others wrote.
  const int m = threadIdx.x;
  if (last_block(&a.group.state->blocks_half) && m < members)
    arrive(a.group, m, epoch + 1, a.signature + kMiddle);
  if (m < members) await_member(a.group, a.watch, m, epoch + 1, a.signature + kMiddle, a.operation);
  __syncthreads();
  if (!pushes)
    for (int step = 0; step < members; ++step) {
      const int from = (me + step) % members;
      const int64_t at = part_begin(a, from);
      auto here = [&](std::byte* base) {
        return [=](int64_t i) { return word_at<Word>(base, at + i * kSize); };
      };
      copy_words<Word>((part_begin(a, from + 1) - at) / kSize, here(a.output), here(a.symmetric[from]));
    }
  finish_kernel(a, epoch + 1, epoch + 1 + (a.end_barrier && !pushes ? 1 : 0));
}

// Whether 16-byte words fit everywhere. All members decide alike: blocks are aligned alike, offsets are
// equal, and it is only this rank's own accesses that a different alignment of its output changes.
bool all_aligned(const CollectiveArguments& a) {
  constexpr int64_t kSize = sizeof(uint4);
  bool aligned = a.length % kSize == 0 && is_aligned(a.output, a.to[a.group.me], kSize);
  for (int m = 0; m < a.group.members; ++m)
    aligned = aligned && is_aligned(a.symmetric[m], a.from[m], kSize) && is_aligned(a.output, a.to[m], kSize);
  return aligned;
}

template <class F>
cudaError_t with_word(const CollectiveArguments& a, F f) {
  with_element(a.element, [&]<Element element>() {
    if (all_aligned(a))
      f.template operator()<element, uint4>();
    else
      f.template operator()<element, typename ElementOf<element>::Memory>();
    return 0;
  });
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_pull(const CollectiveArguments& a, const Launch& launch) {
  return with_word(a, [&]<Element element, class Word>() {
    const int blocks = blocks_for(a.length / static_cast<int64_t>(sizeof(Word)), launch);
    pull_kernel<element, Word><<<blocks, kThreads, 0, launch.stream>>>(a);
  });
}

cudaError_t launch_split(const CollectiveArguments& a, const Launch& launch) {
  return with_word(a, [&]<Element element, class Word>() {
    const int blocks = blocks_for(a.length / a.group.members / static_cast<int64_t>(sizeof(Word)), launch);
    split_kernel<element, Word><<<blocks, kThreads, 0, launch.stream>>>(a);
  });
}

}  // namespace peri::cuda
