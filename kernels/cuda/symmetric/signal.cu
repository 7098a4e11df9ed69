// Signals between two members, and messages: a ring in the sender's memory that the receiver reads, so that
// the sender waits only when it is full and nobody else takes part.
//
// Threads: one for a signal; one block for a message, whose first thread waits and posts for all.
// Memory order: the payload is written (read) by the block, the block barrier and the first thread's release
// at system scope put it before the counter that the other side acquires.
#include "kernels/cuda/collectives/launch.hpp"
#include "kernels/cuda/symmetric/wait.cuh"

namespace peri::kernels::cuda {
namespace {

constexpr int kMessageThreads = 1024;

__global__ void put_signal_kernel(GroupView group, Watch watch, uint32_t operation, int m, int channel) {
  const bool failed = has_failed(watch);
  uint32_t& sent = group.state->put[m][channel];
  const uint32_t* taken = &group.blocks[group.me]->signals.taken[m][channel];
  if (!wait_until(watch, operation, group.ranks[m], [&] { return observe(taken) == sent; }) || failed) return;
  post(&group.blocks[m]->signals.put[group.me][channel], ++sent);
}

__global__ void wait_signal_kernel(GroupView group, Watch watch, uint32_t operation, int m, int channel) {
  const bool failed = has_failed(watch);
  uint32_t& taken = group.state->taken[m][channel];
  const uint32_t* put = &group.blocks[group.me]->signals.put[m][channel];
  auto is_there = [&] { return static_cast<int32_t>(observe(put) - taken) > 0; };
  if (!wait_until(watch, operation, group.ranks[m], is_there) || failed) return;
  post(&group.blocks[m]->signals.taken[group.me][channel], ++taken);
}

__global__ void memset32_kernel(uint32_t* to, uint32_t value, int64_t count) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * blockDim.x)
    to[i] = value;
}

__device__ void copy_block(unsigned char* to, const unsigned char* from, int64_t bytes) {
  const bool aligned =
      (reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % sizeof(uint4) == 0;
  const int64_t words = aligned ? bytes / static_cast<int64_t>(sizeof(uint4)) : 0;
  for (int64_t i = threadIdx.x; i < words; i += blockDim.x)
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
  for (int64_t i = words * static_cast<int64_t>(sizeof(uint4)) + threadIdx.x; i < bytes; i += blockDim.x)
    to[i] = from[i];
}

// Calls body(slot, at, bytes) for every slot that the message takes, when ready(position) says that the slot
// may be used, and posts the count of used slots. A signature of 0 is not compared.
template <class Ready, class Body>
__device__ void for_each_slot(const ChannelView& channel, const Watch& watch, uint32_t operation,
                              int64_t total, uint32_t* counter, Ready ready, Body body) {
  __shared__ bool usable;
  const bool failed = has_failed(watch);
  uint32_t position = *channel.position;
  int64_t at = 0;
  do {  // an empty message, too, takes a slot
    if (threadIdx.x == 0)
      usable = wait_until(watch, operation, channel.peer, [&] { return ready(position); }) && !failed;
    __syncthreads();
    if (!usable) return;
    const int64_t bytes = min(kMessageSlotBytes, total - at);
    body(position % kMessageSlots, at, bytes);
    __syncthreads();
    ++position;
    if (threadIdx.x == 0) {
      __threadfence_system();
      post(counter, position);
    }
    at += bytes;
  } while (at < total);
  if (threadIdx.x == 0) *channel.position = position;
}

__global__ void __launch_bounds__(kMessageThreads)
    send_kernel(ChannelView channel, Watch watch, uint32_t operation, uint32_t signature,
                const unsigned char* data, int64_t total) {
  MessageRing* ring = channel.ring;
  auto has_room = [&](uint32_t position) { return position - observe(&ring->emptied) < kMessageSlots; };
  for_each_slot(channel, watch, operation, total, &ring->filled, has_room,
                [&](uint32_t slot, int64_t at, int64_t bytes) {
                  if (threadIdx.x == 0) ring->signatures[slot] = signature;
                  copy_block(ring->slots[slot], data + at, bytes);
                });
}

__global__ void __launch_bounds__(kMessageThreads)
    receive_kernel(ChannelView channel, Watch watch, uint32_t operation, uint32_t signature,
                   unsigned char* data, int64_t total) {
  MessageRing* ring = channel.ring;
  auto is_filled = [&](uint32_t position) {
    return static_cast<int32_t>(observe(&ring->filled) - position) > 0;
  };
  for_each_slot(channel, watch, operation, total, &ring->emptied, is_filled,
                [&](uint32_t slot, int64_t at, int64_t bytes) {
                  if (threadIdx.x == 0 && ring->signatures[slot] != signature)
                    report_failure(watch, Failure::mismatch, operation, channel.peer);
                  copy_block(data + at, ring->slots[slot], bytes);
                });
}

}  // namespace

cudaError_t launch_put_signal(const GroupView& group, const Watch& watch, uint32_t operation, int member,
                              int channel, cudaStream_t stream) {
  put_signal_kernel<<<1, 1, 0, stream>>>(group, watch, operation, member, channel);
  return cudaGetLastError();
}
cudaError_t launch_wait_signal(const GroupView& group, const Watch& watch, uint32_t operation, int member,
                               int channel, cudaStream_t stream) {
  wait_signal_kernel<<<1, 1, 0, stream>>>(group, watch, operation, member, channel);
  return cudaGetLastError();
}
cudaError_t launch_memset32(std::byte* to, uint32_t value, int64_t count, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>(count < 256 * 256 ? (count + 255) / 256 : 256);
  memset32_kernel<<<blocks, 256, 0, stream>>>(reinterpret_cast<uint32_t*>(to), value, count);
  return cudaGetLastError();
}
cudaError_t launch_send(const ChannelView& channel, const Watch& watch, uint32_t operation,
                        uint32_t signature, const std::byte* data, int64_t bytes, cudaStream_t stream) {
  send_kernel<<<1, kMessageThreads, 0, stream>>>(channel, watch, operation, signature,
                                                 reinterpret_cast<const unsigned char*>(data), bytes);
  return cudaGetLastError();
}
cudaError_t launch_receive(const ChannelView& channel, const Watch& watch, uint32_t operation,
                           uint32_t signature, std::byte* data, int64_t bytes, cudaStream_t stream) {
  receive_kernel<<<1, kMessageThreads, 0, stream>>>(channel, watch, operation, signature,
                                                    reinterpret_cast<unsigned char*>(data), bytes);
  return cudaGetLastError();
}

}  // namespace peri::kernels::cuda
