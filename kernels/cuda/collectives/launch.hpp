// The kernels of collectives and signals, as host code launches them. Plain types only, because .cu files are
// C++20 and the host's are C++23. Each enqueues on the stream and returns what CUDA says of the launch.
#pragma once

#include "kernels/cuda/symmetric/device_view.cuh"

namespace peri::kernels::cuda {

// Pushes `input` into the others' workspace as packets and consumes theirs: every op that needs no symmetric
// operand, at most kChunkBytes of every part at a time. With no bytes to move, a barrier.
cudaError_t launch_ll(const CollectiveArguments& a, cudaStream_t stream);
// All-reduce of f32, f16 or bf16 in the same way, by values without flags, which take half of the wire; at
// most push_chunk_bytes at a time, and at least one.
int64_t push_chunk_bytes(int members);
cudaError_t launch_push(const CollectiveArguments& a, cudaStream_t stream);
// Reads members' symmetric inputs: reduces them, or copies the parts.
cudaError_t launch_pull(const CollectiveArguments& a, cudaStream_t stream);
// All-reduce in two steps: each member reduces its part of all symmetric inputs; where the output is the
// input it then stores it into all of them, else the others fetch it.
cudaError_t launch_split(const CollectiveArguments& a, cudaStream_t stream);

// NVLink multicast, for operands that have a multicast address. Which reductions of which types the switch
// has: floats are never multiplied, and f32 not compared.
__host__ __device__ constexpr bool multimem_has(Element element, Reduction reduction) {
  if (element == Element::u8 || reduction == Reduction::none || reduction == Reduction::prod) return false;
  return element != Element::f32 || reduction == Reduction::sum || reduction == Reduction::avg;
}
// All-reduce: every member loads all of the input, reduced; or loads its part and stores it to all inputs,
// from where those that want it elsewhere copy it. All-gather: every member stores its input to all outputs.
cudaError_t launch_multimem_one_shot(const CollectiveArguments& a, cudaStream_t stream);
cudaError_t launch_multimem_split(const CollectiveArguments& a, cudaStream_t stream);
cudaError_t launch_multimem_gather(const CollectiveArguments& a, cudaStream_t stream);

cudaError_t launch_put_signal(const GroupView& group, const Watch& watch, uint32_t operation, int member,
                              int channel, cudaStream_t stream);
cudaError_t launch_wait_signal(const GroupView& group, const Watch& watch, uint32_t operation, int member,
                               int channel, cudaStream_t stream);
cudaError_t launch_memset32(std::byte* to, uint32_t value, int64_t count, cudaStream_t stream);
cudaError_t launch_send(const ChannelView& channel, const Watch& watch, uint32_t operation,
                        uint32_t signature, const std::byte* data, int64_t bytes, cudaStream_t stream);
cudaError_t launch_receive(const ChannelView& channel, const Watch& watch, uint32_t operation,
                           uint32_t signature, std::byte* data, int64_t bytes, cudaStream_t stream);

}  // namespace peri::kernels::cuda
