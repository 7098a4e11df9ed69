// How kernels wait: on a word of this GPU's or a peer's memory, with a deadline, an abort word and a record
// of what they were waiting for. Every wait of device code is here.
//
// Memory order: what a rank wrote before `post` is visible to whoever has seen the value through `arrived`
// (release and acquire at system scope; the block barrier after it passes it on to the block's other
// threads).
#pragma once

#include "kernels/cuda/symmetric/device_view.cuh"

namespace peri::kernels::cuda {

__device__ inline uint64_t now_ns() {
  uint64_t t;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
  return t;
}
__device__ inline void post(uint32_t* word, uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(word), "r"(value) : "memory");
}
__device__ inline void post(uint64_t* word, uint64_t value) {
  asm volatile("st.release.sys.global.u64 [%0], %1;" ::"l"(word), "l"(value) : "memory");
}
__device__ inline uint32_t observe(const uint32_t* word) {
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(word) : "memory");
  return value;
}
__device__ inline uint64_t observe(const uint64_t* word) {
  uint64_t value;
  asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(value) : "l"(word) : "memory");
  return value;
}

// Whether a kernel of this rank has failed. What the rank holds may be wrong then, so it sends its peers
// nothing more: they fail, too, rather than use it.
__device__ inline bool has_failed(const Watch& watch) {
  return *reinterpret_cast<const volatile uint32_t*>(watch.failed) != 0;
}

// The first failure is the one that is told; kernels that follow see `failed` and do not wait.
__device__ inline void report_failure(const Watch& watch, Failure why, uint32_t operation, int peer) {
  if (atomicCAS(watch.failed, 0u, static_cast<uint32_t>(why)) != 0) return;
  volatile FailureRecord* record = watch.record;
  record->operation = operation;
  record->peer = peer;
  __threadfence_system();
  record->state = static_cast<uint32_t>(why);
}

// Which of the threads that wait look further than their own word. A look reads the clock and host memory,
// and reads of host memory queue up: 128 at once take 90 us. If that were longer than what a peer waits
// before it looks, too, each rank would keep the other: every following collective would be late by as much.
// So warps take turns, and only the first of the grid looks after every round; of a warp, one thread of those
// that wait. A failure that one thread notices is in `failed`, where all see it after their next round.
__device__ inline bool is_looking(unsigned round) {
  constexpr unsigned kTurns = 256, kWarp = 32;
  const bool is_first_of_waiting =
      threadIdx.x % kWarp + 1 == static_cast<unsigned>(__ffs(static_cast<int>(__activemask())));
  const unsigned warp = (blockIdx.x * blockDim.x + threadIdx.x) / kWarp;
  return is_first_of_waiting && (warp == 0 || round % kTurns == warp % kTurns);
}

// Polls until ready() or the bound; false means that it failed. Looks at the clock, at host memory and at
// is_elsewhere() (the peer is in another operation) only every so often: that takes about a microsecond.
template <class Ready, class Elsewhere>
__device__ bool wait_until(const Watch& watch, uint32_t operation, int peer, Ready ready,
                           Elsewhere is_elsewhere) {
  constexpr int kPollsPerRound = 256;
  // Polls without a pause, of a whole grid, slow down what they wait for.
  constexpr int kPollsAtOnce = 16;
  constexpr unsigned kPauseNs = 100;
  constexpr uint64_t kTellAfter = 1'000'000;  // ns: nobody needs to know of shorter waits
  uint64_t begun = 0;
  for (unsigned round = 1;; ++round) {
    for (int i = 0; i < kPollsPerRound; ++i) {
      if (ready()) return true;
      if (round > 1 || i >= kPollsAtOnce) __nanosleep(kPauseNs);
    }
    if (has_failed(watch)) return false;
    if (!is_looking(round)) continue;
    const uint64_t now = now_ns();
    if (begun == 0) begun = now;
    const bool elsewhere = is_elsewhere();
    const bool aborted = *reinterpret_cast<const volatile uint32_t*>(watch.abort) != 0;
    if (elsewhere || aborted || now - begun > watch.timeout_ns) {
      if (ready()) return true;  // the value counts first
      report_failure(watch,
                     elsewhere ? Failure::mismatch
                     : aborted ? Failure::aborted
                               : Failure::timeout,
                     operation, peer);
      return false;
    }
    if (now - begun > kTellAfter)
      *reinterpret_cast<volatile uint64_t*>(watch.waiting) =
          (now << kRankBits) + 1 + static_cast<uint64_t>(peer);
  }
}

template <class Ready>
__device__ bool wait_until(const Watch& watch, uint32_t operation, int peer, Ready ready) {
  return wait_until(watch, operation, peer, ready, [] { return false; });
}

// Tells member `m` that this block has arrived at an epoch, in this operation. One slot per parity of the
// epoch: nobody can be two epochs ahead.
__device__ inline void arrive(const GroupView& group, int m, uint32_t epoch, uint32_t signature) {
  post(&group.blocks[m]->arrivals.word[blockIdx.x][group.me][epoch & 1],
       (static_cast<uint64_t>(epoch) << 32) + signature);
}
// Waits for the same block of member `m` to arrive there too; another signature means that the ranks are in
// different operations. False if they do not meet.
__device__ inline bool await_member(const GroupView& group, const Watch& watch, int m, uint32_t epoch,
                                    uint32_t signature, uint32_t operation) {
  const uint64_t* word = &group.blocks[group.me]->arrivals.word[blockIdx.x][m][epoch & 1];
  uint64_t seen = 0;
  const bool there = wait_until(watch, operation, group.ranks[m], [&] {
    seen = observe(word);
    return static_cast<int32_t>(static_cast<uint32_t>(seen >> 32) - epoch) >= 0;
  });
  const bool differs =
      there && static_cast<uint32_t>(seen >> 32) == epoch && static_cast<uint32_t>(seen) != signature;
  if (differs) report_failure(watch, Failure::mismatch, operation, group.ranks[m]);
  return there && !differs;
}

// Waits for what member `m` sends in this epoch. All collectives of a group arrive in their first block
// before they send, so there a member can be seen that is in another one. False if the wait failed.
template <class Ready>
__device__ bool await_data(const CollectiveArguments& a, int m, uint32_t epoch, Ready ready) {
  const uint64_t* word = &a.group.blocks[a.group.me]->arrivals.word[0][m][epoch & 1];
  return wait_until(a.watch, a.operation, a.group.ranks[m], ready, [&] {
    const uint64_t seen = observe(word);
    return static_cast<uint32_t>(seen >> 32) == epoch && static_cast<uint32_t>(seen) != a.signature;
  });
}

// The epoch before this kernel's first. Every thread reads it before the block calls `advance_epoch`.
__device__ inline uint32_t current_epoch(const GroupView& group) {
  return *reinterpret_cast<const volatile uint32_t*>(&group.state->epoch);
}
// Whether this kernel takes part: not if an earlier one has failed. Both words are loaded at once.
__device__ inline bool takes_part(const CollectiveArguments& a, uint32_t& before) {
  const bool failed = has_failed(a.watch);
  before = current_epoch(a.group);
  return !failed;
}
// Called once by each block, after a barrier of its threads, with the number of epochs that the kernel takes:
// the last block advances the epoch, for the kernels that follow. No block waits for another.
__device__ inline void advance_epoch(const GroupView& group, uint32_t epoch, uint32_t steps) {
  if (threadIdx.x != 0) return;
  if (gridDim.x > 1 && atomicAdd(&group.state->readers, 1u) != gridDim.x - 1) return;
  group.state->readers = 0;
  group.state->epoch = epoch + steps;
}

}  // namespace peri::kernels::cuda
