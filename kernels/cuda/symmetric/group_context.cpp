#include "kernels/cuda/symmetric/group_context.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace peri::kernels::cuda {
namespace {

// Plain memory of the device, zeroed.
template <class T>
Result<T*> zeros(const Device& device) {
  void* data = nullptr;
  PERI_TRY(check(cudaMalloc(&data, sizeof(T)), "memory of the GPU"));
  PERI_TRY(check(cudaMemsetAsync(data, 0, sizeof(T), device.side_stream()), "memory of the GPU"));
  PERI_TRY(check(cudaStreamSynchronize(device.side_stream()), "memory of the GPU"));
  return static_cast<T*>(data);
}

}  // namespace

Status GroupContext::set_up(const job::Operation& operation) {
  if (size() > kMaxMembers)
    return operation.fail(
        Code::Unsupported,
        fmt::format("a group on GPUs has at most {} members, this has {}", kMaxMembers, size()));
  const int64_t bytes = group_block_bytes(size());
  auto blocks = PERI_TRY(SharedBlocks::create(control_, device_, group_, bytes, operation));
  PERI_TRY(clear_own_block(*blocks));  // nobody pushes before all are here
  view_.max_blocks = kMaxBlocks;
  for (const std::string& count :
       PERI_TRY(control_.exchange(group_, std::to_string(device_->multiprocessors()), operation)))
    view_.max_blocks = std::min(view_.max_blocks, std::atoi(count.c_str()));
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

Result<std::shared_ptr<SymmetricPool>> GroupContext::pool() {
  if (!pool_) pool_ = PERI_TRY(SymmetricPool::create(device_, group_, multicast_refusal_));
  return pool_;
}

// Zeros, but for staging, which is empty where it holds ones (collective_push.cu).
Status GroupContext::clear_own_block(const SharedBlocks& blocks) {
  std::byte* own = blocks.data(index_);
  const int64_t staging = staging_offset(size());
  cudaStream_t stream = device_->side_stream();
  PERI_TRY(check(cudaMemsetAsync(own, 0, static_cast<size_t>(staging), stream), "symmetric memory"));
  PERI_TRY(check(cudaMemsetAsync(own + staging, 0xFF, 2 * kStagingBytes, stream), "symmetric memory"));
  return check(cudaStreamSynchronize(stream), "symmetric memory");
}

std::string GroupContext::shape() const {
  return fmt::format("{} bytes of symmetric memory", pool_ ? pool_->bytes() : 0);
}

Status GroupContext::reset() {
  PERI_TRY(clear_own_block(*blocks_));
  PERI_TRY(check(cudaMemsetAsync(view_.state, 0, sizeof(GroupState), device_->side_stream()),
                 "memory of the GPU"));
  return check(cudaStreamSynchronize(device_->side_stream()), "memory of the GPU");
}

void GroupContext::drop() {
  device_->retire([state = view_.state] { cudaFree(state); });
  view_ = {};
  blocks_.reset();
  pool_.reset();
}

GroupContext::~GroupContext() {
  device_->retire([state = view_.state] { cudaFree(state); });
}

Result<std::unique_ptr<Channel>> Channel::open(job::Control& control, const std::shared_ptr<Device>& device,
                                               const Group& group, int from, int to,
                                               const job::Operation& operation) {
  const job::MessageKey key = control.only_key(job::tag_of(group, fmt::format("channel {} to {}", from, to)));
  const bool sending = control.rank() == from;
  std::unique_ptr<Channel> channel(new Channel());
  channel->device_ = device;
  if (sending) {
    channel->blocks_ = PERI_TRY(SharedBlocks::own(device, sizeof(MessageRing)));
    const os::Fd file = PERI_TRY(channel->blocks_->share());
    PERI_TRY(control.send(to, key, "", &file, operation));
  } else {
    const job::Message message = PERI_TRY(control.receive(from, key, operation));
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

}  // namespace peri::kernels::cuda
