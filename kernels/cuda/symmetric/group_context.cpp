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

Result<std::shared_ptr<SymmetricPool>> GroupContext::pool() {
  if (!pool_) pool_ = PERI_TRY(SymmetricPool::create(device_, group_, multicast_refusal_));
  return pool_;
}

GroupContext::~GroupContext() {
  device_->retire([state = view_.state] { cudaFree(state); });
}

Result<std::unique_ptr<Channel>> Channel::open(job::Control& control, const std::shared_ptr<Device>& device,
                                               const Group& group, int from, int to,
                                               const job::Operation& operation) {
  const job::MessageKey key{job::topic_of(group, fmt::format("channel {} to {}", from, to)), 0};
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
