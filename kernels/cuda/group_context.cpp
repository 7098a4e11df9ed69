#include "kernels/cuda/group_context.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace peri::cuda {
namespace {

CUmemAllocationProp properties(int device) {
  CUmemAllocationProp p{};
  p.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  p.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  p.location = {CU_MEM_LOCATION_TYPE_DEVICE, device};
  return p;
}

// All members' outcomes of one step, so that they fail together: the first failure, or none.
Status agree(host::Control& control, const Group& group, const Status& mine,
             const host::Operation& operation) {
  const std::vector<std::string> outcomes =
      PERI_TRY(control.exchange(group, mine ? "" : mine.error().message, operation));
  for (size_t i = 0; i < outcomes.size(); ++i)
    if (!outcomes[i].empty())
      return operation.fail(Code::OutOfMemory, fmt::format("rank {}: {}", group.ranks[i], outcomes[i]));
  return {};
}

// Plain memory of the device, zeroed.
template <class T>
Result<T*> zeros(const Device& device) {
  void* data = nullptr;
  PERI_TRY(check(cudaMalloc(&data, sizeof(T)), "memory of the GPU"));
  PERI_TRY(check(cudaMemsetAsync(data, 0, sizeof(T), device.side_stream()), "memory of the GPU"));
  PERI_TRY(check(cudaStreamSynchronize(device.side_stream()), "memory of the GPU"));
  return static_cast<T*>(data);
}

CUdeviceptr pointer(const std::byte* address) {
  return reinterpret_cast<CUdeviceptr>(address);
}

}  // namespace

Status SharedBlocks::reserve(int64_t bytes) {
  const CUmemAllocationProp p = properties(device_->index());
  size_t granularity = 0;
  PERI_TRY(
      check(driver().granularity(&granularity, &p, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED), "granularity"));
  const auto unit = static_cast<int64_t>(granularity);
  stride_ = std::max<int64_t>((bytes + unit - 1) / unit * unit, unit);
  CUdeviceptr range = 0;
  PERI_TRY(check(driver().reserve(&range, static_cast<size_t>(stride_ * members_), granularity, 0, 0),
                 "address space"));
  data_ = reinterpret_cast<std::byte*>(range);
  return {};
}

Status SharedBlocks::map(int member, CUmemGenericAllocationHandle handle) {
  const CUdeviceptr at = pointer(data(member));
  PERI_TRY(check(driver().map(at, static_cast<size_t>(stride_), 0, handle, 0), "mapping memory of a GPU"));
  mapped_.push_back(member);
  const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, device_->index()},
                               CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  return check(driver().set_access(at, static_cast<size_t>(stride_), &access, 1),
               fmt::format("GPU {} cannot reach the memory of a peer's GPU", device_->index()));
}

Status SharedBlocks::map_own(int member) {
  const CUmemAllocationProp p = properties(device_->index());
  PERI_TRY(check(
      driver().create(&own_, static_cast<size_t>(stride_), &p, 0),
      fmt::format("{} of symmetric memory on GPU {}", host::describe_bytes(stride_), device_->index())));
  PERI_TRY(map(member, own_));
  PERI_TRY(check(cudaMemsetAsync(data(member), 0, static_cast<size_t>(stride_), device_->side_stream()),
                 "symmetric memory"));
  return check(cudaStreamSynchronize(device_->side_stream()), "symmetric memory");
}

Status SharedBlocks::map_file(int member, const host::Fd& file) {
  CUmemGenericAllocationHandle handle = 0;
  PERI_TRY(check(driver().import_handle(&handle, reinterpret_cast<void*>(static_cast<intptr_t>(file.get())),
                                        CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR),
                 "memory of a peer's GPU"));
  Status mapped = map(member, handle);
  driver().release(handle);  // the mapping keeps it
  return mapped;
}

Result<host::Fd> SharedBlocks::share() const {
  int file = -1;
  PERI_TRY(check(driver().export_handle(&file, own_, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0),
                 "sharing memory of the GPU"));
  return host::Fd(file);
}

Result<std::unique_ptr<SharedBlocks>> SharedBlocks::create(host::Control& control,
                                                           std::shared_ptr<Device> device, const Group& group,
                                                           int64_t bytes, const host::Operation& operation) {
  const int index = group.index_of(control.rank());
  std::unique_ptr<SharedBlocks> blocks(new SharedBlocks(std::move(device), group.size()));
  Status made = blocks->reserve(bytes);
  if (made) made = blocks->map_own(index);
  host::Fd own;
  if (made) {
    Result<host::Fd> shared = blocks->share();
    if (shared)
      own = std::move(*shared);
    else
      made = std::unexpected(shared.error());
  }
  PERI_TRY(agree(control, group, made, operation));

  const host::MessageKey key = control.next_key(host::topic_of(group, "block of GPU memory"));
  for (int peer : group.ranks)
    if (peer != control.rank()) PERI_TRY(control.send(peer, key, "", &own, operation));
  Status mapped;
  for (int m = 0; m < group.size(); ++m) {
    if (m == index) continue;
    const host::Message message =
        PERI_TRY(control.receive(group.ranks[static_cast<size_t>(m)], key, operation));
    if (mapped) mapped = blocks->map_file(m, message.file);
  }
  PERI_TRY(agree(control, group, mapped, operation));
  return blocks;
}

Result<std::unique_ptr<SharedBlocks>> SharedBlocks::own(std::shared_ptr<Device> device, int64_t bytes) {
  std::unique_ptr<SharedBlocks> blocks(new SharedBlocks(std::move(device), 1));
  PERI_TRY(blocks->reserve(bytes));
  PERI_TRY(blocks->map_own(0));
  return blocks;
}

Result<std::unique_ptr<SharedBlocks>> SharedBlocks::map_others(std::shared_ptr<Device> device, int64_t bytes,
                                                               const host::Fd& file) {
  std::unique_ptr<SharedBlocks> blocks(new SharedBlocks(std::move(device), 1));
  PERI_TRY(blocks->reserve(bytes));
  PERI_TRY(blocks->map_file(0, file));
  return blocks;
}

// Kernels in the stream may still use the memory, so it stays mapped until they are done. Peers keep theirs.
SharedBlocks::~SharedBlocks() {
  device_->retire([data = data_, stride = static_cast<size_t>(stride_),
                   members = static_cast<size_t>(members_), own = own_, mapped = std::move(mapped_)] {
    for (int member : mapped) driver().unmap(pointer(data) + static_cast<size_t>(member) * stride, stride);
    if (own) driver().release(own);
    if (data) driver().free_address(pointer(data), stride * members);
  });
}

Status GroupContext::set_up(const host::Operation& operation) {
  if (size() > kMaxMembers)
    return operation.fail(
        Code::Unsupported,
        fmt::format("a group on GPUs has at most {} members, this has {}", kMaxMembers, size()));
  const int64_t bytes = group_block_bytes(size());
  auto blocks = PERI_TRY(SharedBlocks::create(control_, device_, group_, bytes, operation));
  // Staging is empty where it holds ones (collective_push.cu). Nobody pushes before all are here.
  PERI_TRY(check(cudaMemsetAsync(blocks->data(index_) + staging_offset(size()), 0xFF, 2 * kStagingBytes,
                                 device_->side_stream()),
                 "symmetric memory"));
  PERI_TRY(check(cudaStreamSynchronize(device_->side_stream()), "symmetric memory"));
  view_.most_blocks = kMostBlocks;
  for (const std::string& count :
       PERI_TRY(control_.exchange(group_, std::to_string(device_->multiprocessors()), operation)))
    view_.most_blocks = std::min(view_.most_blocks, std::atoi(count.c_str()));
  view_.state = PERI_TRY(zeros<GroupState>(*device_));
  view_.members = size();
  view_.me = index_;
  for (int m = 0; m < size(); ++m) {
    view_.ranks[m] = group_.ranks[static_cast<size_t>(m)];
    view_.blocks[m] = reinterpret_cast<GroupBlock*>(blocks->data(m));
  }
  blocks_ = std::move(blocks);
  return {};
}

GroupContext::~GroupContext() {
  device_->retire([state = view_.state] { cudaFree(state); });
}

Result<std::unique_ptr<Channel>> Channel::open(host::Control& control, std::shared_ptr<Device> device,
                                               const Group& group, int from, int to,
                                               const host::Operation& operation) {
  const host::MessageKey key{host::topic_of(group, fmt::format("channel {} to {}", from, to)), 0};
  const bool sending = control.rank() == from;
  std::unique_ptr<Channel> channel(new Channel());
  channel->device_ = device;
  if (sending) {
    channel->blocks_ = PERI_TRY(SharedBlocks::own(device, sizeof(MessageRing)));
    const host::Fd file = PERI_TRY(channel->blocks_->share());
    PERI_TRY(control.send(to, key, "", &file, operation));
  } else {
    const host::Message message = PERI_TRY(control.receive(from, key, operation));
    channel->blocks_ = PERI_TRY(SharedBlocks::map_others(device, sizeof(MessageRing), message.file));
  }
  channel->view_.ring = reinterpret_cast<MessageRing*>(channel->blocks_->data(0));
  channel->view_.position = PERI_TRY(zeros<uint32_t>(*device));
  channel->view_.peer = sending ? to : from;
  return channel;
}

Channel::~Channel() {
  if (device_) device_->retire([position = view_.position] { cudaFree(position); });
}

}  // namespace peri::cuda
