// The algorithm `ll`: packets of 8 data bytes and two flags, pushed into peers' workspace, so that data and
// its arrival are one store and no barrier stands between. Needs no symmetric operand. All-reduces of floats
// go through collective_push.cu instead.
//
// Threads: thread t of the grid takes packets t, t + T, ... of the chunk, for all members.
// Memory order: a packet is one 16-byte store whose two 8-byte halves each carry their flag, the epoch; a
// reader takes it when both flags are there, so no fence is needed. Two buffers alternate with the epoch. A
// kernel ends only after every member has arrived at its epoch, that is, has ended the kernel before: so the
// buffer that the next kernel writes is read by nobody any more.
#include "kernels/cuda/collectives/words.cuh"
#include "kernels/cuda/symmetric/wait.cuh"

namespace peri::kernels::cuda {
namespace {

constexpr int64_t kPackets = kChunkBytes / kPacketBytes;

__device__ uint4* packets_of(const GroupView& group, int owner, int from, uint32_t epoch) {
  std::byte* base = reinterpret_cast<std::byte*>(group.blocks[owner]) + kPacketsOffset;
  return reinterpret_cast<uint4*>(base) + ((epoch & 1) * group.members + from) * kPackets;
}

__device__ void push(uint4* packet, uint64_t data, uint32_t flag) {
  asm volatile("st.relaxed.sys.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(packet),
               "r"(static_cast<uint32_t>(data)), "r"(flag), "r"(static_cast<uint32_t>(data >> 32)), "r"(flag)
               : "memory");
}

__device__ uint64_t receive(const CollectiveArguments& a, int from, int64_t index, uint32_t flag) {
  const uint4* packet = packets_of(a.group, a.group.me, from, flag) + index;
  uint32_t low = 0, low_flag, high = 0, high_flag;
  await_data(a, from, flag, [&] {
    asm volatile("ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(low), "=r"(low_flag), "=r"(high), "=r"(high_flag)
                 : "l"(packet)
                 : "memory");
    return low_flag == flag && high_flag == flag;
  });
  return (static_cast<uint64_t>(high) << 32) + low;
}

template <Element element>
__global__ void __launch_bounds__(kThreads) ll_kernel(const __grid_constant__ CollectiveArguments a) {
  const GroupView& group = a.group;
  const int members = group.members, me = group.me;
  uint32_t before;
  if (!takes_part(a, before)) return;
  const uint32_t epoch = before + 1;
  const bool meets = blockIdx.x == 0 && threadIdx.x < members && threadIdx.x != me;
  if (meets) arrive(group, threadIdx.x, epoch, a.signature);

  const int64_t packets = (a.length + kPacketBytes - 1) / kPacketBytes;
  auto bytes_at = [&](int64_t i) { return min(kPacketBytes, a.length - i * kPacketBytes); };
  auto load = [&](int m, int64_t i) {
    return load_word<element, uint64_t>(PartMemory::of<uint64_t>(a.input, a.from[m]), a.at + i * kPacketBytes,
                                        bytes_at(i));
  };
  auto store = [&](int m, int64_t i, uint64_t word) {
    store_word<element, uint64_t>(PartMemory::of<uint64_t>(a.output, a.to[m]), a.at + i * kPacketBytes,
                                  bytes_at(i), word);
  };

  if (a.root < 0 || a.root == me)
    for (int64_t i = first_word(); i < packets; i += word_step()) {
      uint64_t word = a.personal ? 0 : load(me, i);
      for (int step = 1; step < members; ++step) {
        const int m = (me + step) % members;
        if (a.receiver >= 0 && m != a.receiver) continue;
        if (a.personal) word = load(m, i);
        push(packets_of(group, m, me, epoch) + i, word, epoch);
      }
    }
  __syncthreads();
  advance_epoch(group, before, 1);

  for (int64_t i = first_word(); i < packets; i += word_step()) {
    auto take = [&](int m) { return m == me ? load(m, i) : receive(a, m, i, epoch); };
    if (a.receiver >= 0 && me != a.receiver) {
      store(me, i, load(me, i));
    } else if (a.reduction != Reduction::none) {
      Accumulator<element, uint64_t> sum;
      sum.begin(take(0));
      for (int m = 1; m < members; ++m) sum.add(a.reduction, take(m));
      store(me, i, sum.result(a.reduction, members));
    } else {
      for (int step = 0; step < members; ++step) {
        const int m = (me + step) % members;
        if (a.root < 0 || a.root == m) store(m, i, take(m));
      }
    }
  }

  if (meets) await_member(group, a.watch, threadIdx.x, epoch, a.signature, a.operation);
}

}  // namespace

cudaError_t launch_ll(const CollectiveArguments& a, cudaStream_t stream) {
  const unsigned blocks = blocks_for((a.length + kPacketBytes - 1) / kPacketBytes, a.group);
  with_element(a.element, [&]<Element element>() {
    ll_kernel<element><<<blocks, kThreads, 0, stream>>>(a);
    return 0;
  });
  return cudaGetLastError();
}

}  // namespace peri::kernels::cuda
