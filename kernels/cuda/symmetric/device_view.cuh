// What kernels see of a group and of a job: plain structs of addresses, passed by value, for host code and
// device code alike. Nothing here owns anything.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace peri::kernels::cuda {

inline constexpr int kMaxMembers = 8;
inline constexpr int kMaxBlocks = 128;  // of a collective's kernel: all are resident at once
inline constexpr int kSignalChannels = 8;
inline constexpr int64_t kPacketBytes = 8;         // data of one LL packet, which takes twice as much
inline constexpr int64_t kChunkBytes = 256 << 10;  // data that one LL kernel takes from one member to another
inline constexpr int64_t kStagingBytes = 16 << 20;  // of one of the two buffers of values that peers push
inline constexpr uint32_t kMessageSlots = 8;        // of a channel
inline constexpr int64_t kMessageSlotBytes = 32 << 10;

inline constexpr int kRankBits = 20;  // more ranks than a job has

enum class Failure : uint32_t { none, timeout, aborted, mismatch };

// In memory of the host that the device writes: what the first kernel that gave up was waiting for. `state`
// is written last.
struct FailureRecord {
  uint32_t state;  // Failure
  uint32_t operation;
  int32_t peer;  // global rank
  uint32_t padding;
};

// The bound on every wait. `abort` and `record` lie in host memory, `failed` on the device.
struct Watch {
  const uint32_t* abort;  // not 0: the job has failed or is interrupted
  FailureRecord* record;
  // (ns << kRankBits) + 1 + the rank that a kernel is waiting for, for as long as it waits.
  uint64_t* waiting;
  uint32_t* failed;  // not 0: a kernel has failed, and later ones do not wait
  uint64_t timeout_ns;
};

// A member's part of a group's shared block: one word per block of a kernel, member and parity of the epoch,
// each (epoch << 32) + signature; signals; then two buffers of LL packets per member, then two of values.
struct Arrivals {
  uint64_t word[kMaxBlocks][kMaxMembers][2];
};
struct Signals {
  // By the member that puts, in the block of the one that waits.
  uint32_t put[kMaxMembers][kSignalChannels];
  // By the member that takes, in the block of the one that puts.
  uint32_t taken[kMaxMembers][kSignalChannels];
};
struct GroupBlock {
  Arrivals arrivals;
  Signals signals;
};
inline constexpr int64_t kPacketsOffset = 32 << 10;
static_assert(sizeof(GroupBlock) <= kPacketsOffset);
__host__ __device__ constexpr int64_t staging_offset(int members) {
  return kPacketsOffset + 2 * members * (kChunkBytes / kPacketBytes) * 2 * kPacketBytes;
}
constexpr int64_t group_block_bytes(int members) {
  return staging_offset(members) + 2 * kStagingBytes;
}

// This rank's own, in plain device memory: read and advanced by kernels, so that a graph holds no epoch.
struct GroupState {
  uint32_t epoch;
  uint32_t readers;  // blocks of the running kernel that have read the epoch
  uint32_t put[kMaxMembers][kSignalChannels];
  uint32_t taken[kMaxMembers][kSignalChannels];
};

struct GroupView {
  int members, me;
  int max_blocks;  // of a kernel, agreed upon by the members
  int ranks[kMaxMembers];
  GroupBlock* blocks[kMaxMembers];
  GroupState* state;
};

// The side of a channel that a rank has: the ring lies in the sender's memory, mapped by the receiver.
struct MessageRing {
  alignas(128) uint32_t filled;
  alignas(128) uint32_t emptied;
  alignas(128) uint32_t signatures[kMessageSlots];
  alignas(128) unsigned char slots[kMessageSlots][kMessageSlotBytes];
};
struct ChannelView {
  MessageRing* ring;
  uint32_t* position;  // slots that this side has filled or emptied, in plain device memory
  int peer;            // global rank
};

// kernels/collectives/collective_call.hpp's Window; rows without gaps are one row of kUnbroken bytes, longer
// than any tensor and divided by every word.
inline constexpr int64_t kUnbroken = int64_t{1} << 62;
struct PartWindow {
  int64_t row_bytes, row_stride, begin;
};

enum class Element : uint8_t { f32, f16, bf16, i32, i64, u8 };      // core's DType, without bool
enum class Reduction : uint8_t { none, sum, avg, min, max, prod };  // core's Reduce, and none: a copy

// One collective of one group, or one chunk of it: what its kernels are launched with.
struct CollectiveArguments {
  GroupView group;
  Watch watch;
  uint32_t operation;  // names it in the failure record
  uint32_t signature;
  Element element;
  Reduction reduction;
  const std::byte* input;
  std::byte* output;
  std::byte* symmetric[kMaxMembers];  // members' symmetric operands
  std::byte* multicast;               // all of them at once, by NVLink multicast; nullptr if it is not used
  PartWindow from[kMaxMembers];       // what the input holds for a member
  PartWindow to[kMaxMembers];         // where in the output what comes from a member lies
  int64_t at, length;                 // the positions of a part that this chunk moves
  int root;                           // a member, or -1: all send
  int receiver;                       // a member, or -1: all receive; who does not keeps its input
  bool personal;                      // every member gets a part of its own
  bool end_barrier;
  // Programmatic dependent launch, of kernels that push values: this one waits for the kernel before it, the
  // next one for this one.
  bool begins_early, lets_next_begin;
};

}  // namespace peri::kernels::cuda
