// The algorithm `ll` for all-reduces of floats: values pushed into peers' workspace that are their own flags.
// A slot of the workspace that nobody has filled holds a pattern that no pushed value has, so data takes no
// more of the wire than its own size, no barrier stands between, and no operand need be symmetric.
//
// In one step every member gets every other's whole input; in two steps each member first gets and reduces
// its part of all inputs, then pushes the reduced part to all.
//
// Threads: thread t of the grid takes words t, t + T, ... of 16 bytes of every part, in every step.
// Memory order: each 4-byte lane of a word is valid by itself, so the words need no order. Two buffers
// alternate with the epoch, and whoever takes a word empties its slot. A member writes a buffer again two
// epochs later, when it has got this member's words of the epoch between, which are pushed by a later kernel
// than the one that emptied the slot. A kernel that gave up leaves slots filled: then the rank communicates
// no more (monitor.hpp).
#include "kernels/cuda/collectives/words.cuh"
#include "kernels/cuda/programmatic.hpp"
#include "kernels/cuda/symmetric/wait.cuh"

namespace peri::kernels::cuda {
namespace {

constexpr int64_t kWord = sizeof(uint4);
constexpr uint32_t kEmpty = 0xFFFFFFFFu;

// The pattern is a NaN, and so are both halves of it: another NaN stands for it on the wire.
__device__ uint4 marked(uint4 word) {
  auto mark = [](uint32_t lane) { return lane == kEmpty ? 0x7FFFFFFFu : lane; };
  return {mark(word.x), mark(word.y), mark(word.z), mark(word.w)};
}
__device__ bool is_filled(uint4 word) {
  return word.x != kEmpty && word.y != kEmpty && word.z != kEmpty && word.w != kEmpty;
}

__device__ void push(uint4* slot, uint4 word) {
  asm volatile("st.relaxed.sys.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(slot), "r"(word.x), "r"(word.y),
               "r"(word.z), "r"(word.w)
               : "memory");
}
__device__ uint4 peek(const uint4* slot) {
  uint4 word;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(word.x), "=r"(word.y), "=r"(word.z), "=r"(word.w)
               : "l"(slot)
               : "memory");
  return word;
}
// What member `m` pushed into the slot, of which `seen` is the last look; the slot is empty then. `complete`
// becomes false if nothing came.
__device__ uint4 taken(const CollectiveArguments& a, uint32_t epoch, uint4* slot, int m, uint4 seen,
                       bool& complete) {
  if (!is_filled(seen)) {
    const bool came = await_data(a, m, epoch, [&] {
      seen = peek(slot);
      return is_filled(seen);
    });
    if (!came) complete = false;
  }
  *slot = {kEmpty, kEmpty, kEmpty, kEmpty};
  return seen;
}

// `set` of `sets` of the slots that the members push into, in `owner`'s buffer of this epoch.
__device__ uint4* slots(const GroupView& group, uint32_t epoch, int owner, int set, int sets) {
  std::byte* base = reinterpret_cast<std::byte*>(group.blocks[owner]) + staging_offset(group.members);
  return reinterpret_cast<uint4*>(base + (epoch & 1) * kStagingBytes) + set * (kStagingBytes / kWord / sets);
}

// The words of a part: whole cache lines, so that no line of the output is written by two members.
__device__ int64_t part_begin(int64_t words, int members, int part) {
  return min(part * (((words + members - 1) / members + 7) / 8 * 8), words);
}

// What a thread does in one epoch. kMembers: how many there are, or 0: as many as the group has. kPlain: a
// sum or mean of whole words in rows without gaps.
template <Element element, int kMembers, bool kPlain, bool kTwoSteps>
struct PushedReduce {
  static constexpr int kCap = kMembers > 0 ? kMembers : kMaxMembers;
  static constexpr int kInFlight = kPlain && kCap <= 4 ? 8 / kCap : 1;  // words of every member
  const CollectiveArguments& a;
  const uint32_t epoch;
  const int members = kMembers > 0 ? kMembers : a.group.members, me = a.group.me;
  const int64_t words = (a.length + kWord - 1) / kWord, step = word_step();
  const PartMemory input = PartMemory::of<uint4>(a.input, a.from[me]),
                   output = PartMemory::of<uint4>(a.output, a.to[me]);

  __device__ __forceinline__ uint4 own(int64_t word) const {
    return marked(load_word<element, uint4, kPlain>(input, a.at + word * kWord, a.length - word * kWord));
  }
  __device__ __forceinline__ void store(int64_t word, uint4 value) const {
    store_word<element, uint4, kPlain>(output, a.at + word * kWord, a.length - word * kWord, value);
  }
  __device__ __forceinline__ uint4* set_of(int owner, int set) const {
    return slots(a.group, epoch, owner, set, (kTwoSteps ? 2 : 1) * members);
  }
  __device__ __forceinline__ int64_t begin_of(int part) const { return part_begin(words, members, part); }

  // Two steps: to every member its part of this rank's input.
  __device__ __forceinline__ void push_parts() const {
    for (int turn = 1; turn < members; ++turn) {
      const int m = (me + turn) % members;
      const int64_t begin = begin_of(m);
      uint4* const to = set_of(m, me);
      for_each_word<kInFlight>(begin_of(m + 1) - begin, [&]<int n>(int64_t i) {
        uint4 word[n];
#pragma unroll
        for (int k = 0; k < n; ++k) word[k] = own(begin + i + k * step);
#pragma unroll
        for (int k = 0; k < n; ++k) push(to + i + k * step, word[k]);
      });
    }
  }

  // One step: to every member all of it.
  __device__ __forceinline__ void push_whole() const {
    for_each_word<kInFlight>(words, [&]<int n>(int64_t i) {
      uint4 word[n];
#pragma unroll
      for (int k = 0; k < n; ++k) word[k] = own(i + k * step);
#pragma unroll
      for (int turn = 1; turn < kCap; ++turn)
        if (turn < members)
#pragma unroll
          for (int k = 0; k < n; ++k) push(set_of((me + turn) % members, me) + i + k * step, word[k]);
    });
  }

  // Reduces this rank's part, or all of it in one step; of two, pushes the result to all.
  __device__ __forceinline__ void reduce() const {
    const int64_t begin = kTwoSteps ? begin_of(me) : 0;
    for_each_word<kInFlight>(kTwoSteps ? begin_of(me + 1) - begin : words, [&]<int n>(int64_t i) {
      uint4 mine[n], word[kCap][n];
      bool complete = true;
#pragma unroll
      for (int k = 0; k < n; ++k) mine[k] = own(begin + i + k * step);
#pragma unroll
      for (int m = 0; m < kCap; ++m)
        if (m < members)
#pragma unroll
          for (int k = 0; k < n; ++k)
            word[m][k] = peek(set_of(me, m) + i + k * step);  // its own slot too, which is not used
#pragma unroll
      for (int m = 0; m < kCap; ++m)
        if (m < members)
#pragma unroll
          for (int k = 0; k < n; ++k)
            word[m][k] =
                m == me ? mine[k] : taken(a, epoch, set_of(me, m) + i + k * step, m, word[m][k], complete);
#pragma unroll
      for (int k = 0; k < n; ++k) {
        Accumulator<element, uint4, kPlain> sum;
        sum.begin(word[0][k]);
#pragma unroll
        for (int m = 1; m < kCap; ++m)
          if (m < members) sum.add(a.reduction, word[m][k]);
        uint4 result = sum.result(a.reduction, members);
        if (kTwoSteps && complete) {
          result = marked(result);
          for (int turn = 1; turn < members; ++turn)
            push(set_of((me + turn) % members, members + me) + i + k * step, result);
        }
        store(begin + i + k * step, result);
      }
    });
  }

  // Two steps: takes the reduced parts of the others.
  __device__ __forceinline__ void gather() const {
    for_each_word<1>(begin_of(1), [&]<int n>(int64_t i) {  // no part is longer than the first
      uint4 word[kCap];
      bool complete = true;
      auto has = [&](int m) { return m < members && m != me && begin_of(m) + i < begin_of(m + 1); };
#pragma unroll
      for (int m = 0; m < kCap; ++m)
        if (has(m)) word[m] = peek(set_of(me, members + m) + i);
#pragma unroll
      for (int m = 0; m < kCap; ++m)
        if (has(m))
          store(begin_of(m) + i, taken(a, epoch, set_of(me, members + m) + i, m, word[m], complete));
    });
  }
};

template <Element element, int kMembers, bool kPlain, bool kTwoSteps>
__global__ void __launch_bounds__(kThreads, 1) push_kernel(const __grid_constant__ CollectiveArguments a) {
  const int members = kMembers > 0 ? kMembers : a.group.members, me = a.group.me;
  if (a.lets_next_begin) asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");  // nothing is read, written or signalled before
  uint32_t before;
  if (!takes_part(a, before)) return;
  const uint32_t epoch = before + 1;
  const bool meets = blockIdx.x == 0 && threadIdx.x < members && threadIdx.x != me;
  if (meets) arrive(a.group, threadIdx.x, epoch, a.signature);

  const PushedReduce<element, kMembers, kPlain, kTwoSteps> call{a, epoch};
  if constexpr (kTwoSteps)
    call.push_parts();
  else
    call.push_whole();
  __syncthreads();
  advance_epoch(a.group, before, 1);
  call.reduce();
  if constexpr (kTwoSteps) call.gather();

  if (meets) await_member(a.group, a.watch, threadIdx.x, epoch, a.signature, a.operation);
}

// Two steps move 2 (W - 1) / W of the data instead of W - 1 times, and take one more way from rank to rank,
// in which about kExtraStepBytes would cross.
bool takes_two_steps(const CollectiveArguments& a) {
  constexpr int64_t kExtraStepBytes = 512 << 10;
  const int64_t members = a.group.members;
  return a.length * (members - 1) * (members - 2) / members > kExtraStepBytes;
}

template <Element element, int kMembers, bool kPlain>
cudaError_t launch_steps(const CollectiveArguments& a, cudaStream_t stream) {
  const int64_t words = (a.length + kWord - 1) / kWord;
  const bool two = takes_two_steps(a);
  const void* kernel = two ? reinterpret_cast<const void*>(push_kernel<element, kMembers, kPlain, true>)
                           : reinterpret_cast<const void*>(push_kernel<element, kMembers, kPlain, false>);
  void* arguments[] = {const_cast<CollectiveArguments*>(&a)};
  return launch_programmatic(kernel, dim3(blocks_for(two ? words / a.group.members : words, a.group)),
                             dim3(kThreads), arguments, 0, stream, a.begins_early);
}

}  // namespace

// Half a buffer, as two steps have twice the slots of one; parts are rounded up to cache lines.
int64_t push_chunk_bytes(int members) {
  const int64_t part = kStagingBytes / (2 * members) / 128 * 128 - 128;
  return part * members / 128 * 128;
}

cudaError_t launch_push(const CollectiveArguments& a, cudaStream_t stream) {
  const int me = a.group.me;
  const bool plain = is_plain(a) && PartMemory::of<uint4>(a.input, a.from[me]).plain &&
                     PartMemory::of<uint4>(a.output, a.to[me]).plain;
  return with_kernel(a, plain, [&]<Element element, int kMembers, bool kPlain>() {
    if constexpr (element == Element::f32 || element == Element::f16 || element == Element::bf16)
      static_cast<void>(
          launch_steps<element, kMembers, kPlain>(a, stream));  // with_kernel asks for the last error
  });
}

}  // namespace peri::kernels::cuda
