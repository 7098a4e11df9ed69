#include "kernels/host/symmetric/signal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "kernels/collectives/collective_call.hpp"
#include "kernels/host/collectives/collective_copy.hpp"
#include "kernels/host/symmetric/symmetric_memory.hpp"

namespace peri::kernels::host {

GroupContext::GroupContext(job::Control& control, const Group& group)
    : control_(control), group_(group), index_(group.index_of(control.rank())) {}

Status GroupContext::set_up(const job::Operation& operation) {
  auto members = static_cast<size_t>(size());
  size_t pads = sizeof(Pad) * members;
  size_t signals = sizeof(Signal) * members * members * kSignalChannels;
  size_t staging = static_cast<size_t>(kStagingBytes) * 2 * members;
  size_t before_staging = (pads + signals + 4095) / 4096 * 4096;
  std::shared_ptr<os::Mapping> mapping =
      PERI_TRY(share_memory(control_, group_, Bytes(before_staging + staging), operation));
  pads_ = reinterpret_cast<Pad*>(mapping->data());
  signals_ = reinterpret_cast<Signal*>(mapping->data() + pads);
  staging_ = mapping->data() + before_staging;
  mapping_ = std::move(mapping);
  return {};
}

// Of the words in pairs each member resets those of the signals that it puts.
Status GroupContext::reset() {
  epoch_ = 0;
  staged_ = 0;
  pads_[index_].epoch.value.store(0, std::memory_order_relaxed);
  for (std::atomic<uint64_t>& signature : pads_[index_].signatures)
    signature.store(0, std::memory_order_relaxed);
  for (int to = 0; to < size(); ++to)
    for (int channel = 0; channel < kSignalChannels; ++channel) {
      Signal& s = signal(index_, to, channel);
      s.put.value.store(0, std::memory_order_relaxed);
      s.taken.value.store(0, std::memory_order_relaxed);
    }
  return {};
}

Status GroupContext::synchronize(uint64_t signature, const job::Operation& operation) {
  const int members = size();
  if (members == 1) return {};
  PERI_TRY(control_.check_old_failure(operation));
  const uint32_t epoch = ++epoch_;
  Pad& mine = pads_[index_];
  mine.signatures[epoch & 1].store(signature, std::memory_order_relaxed);  // published by the post
  mine.epoch.post(epoch);
  for (int step = 1; step < members; ++step) {
    int member = (index_ + step) % members;
    Pad& theirs = pads_[member];
    PERI_TRY(control_.await(theirs.epoch, epoch, rank_of(member), operation));
    if (theirs.signatures[epoch & 1].load(std::memory_order_relaxed) != signature)
      return control_.mismatch(rank_of(member), operation);
  }
  return {};
}

Status GroupContext::put_signal(int member, int channel, const job::Operation& operation) {
  PERI_TRY(check_signal(Signalling::put, group_, index_, member, channel, kSignalChannels, operation));
  PERI_TRY(ensure(operation));
  Signal& s = signal(index_, member, channel);
  uint32_t sent = s.put.value.load(std::memory_order_relaxed);  // only this rank writes it
  PERI_TRY(control_.await(s.taken, sent, rank_of(member), operation));
  s.put.post(sent + 1);
  return {};
}

Status GroupContext::wait_signal(int member, int channel, const job::Operation& operation) {
  PERI_TRY(check_signal(Signalling::wait, group_, index_, member, channel, kSignalChannels, operation));
  PERI_TRY(ensure(operation));
  Signal& s = signal(member, index_, channel);
  uint32_t taken = s.taken.value.load(std::memory_order_relaxed);  // only this rank writes it
  PERI_TRY(control_.await(s.put, taken + 1, rank_of(member), operation));
  s.taken.post(taken + 1);
  return {};
}

Channel::Channel(job::Control& control, int peer, std::shared_ptr<os::Mapping> mapping)
    : control_(control),
      peer_(peer),
      mapping_(std::move(mapping)),
      ring_(reinterpret_cast<Ring*>(mapping_->data())) {}

Result<std::unique_ptr<Channel>> Channel::open(job::Control& control, const Group& group, int from, int to,
                                               const job::Operation& operation) {
  const job::MessageKey key = control.only_key(job::tag_of(group, fmt::format("channel {} to {}", from, to)));
  bool sending = control.rank() == from;
  os::Fd file;
  if (sending) {
    file = PERI_TRY(os::create_shared_file(Bytes(sizeof(Ring))));
    PERI_TRY(os::reserve(file, {}, Bytes(sizeof(Ring))));
    PERI_TRY(control.send(to, key, "", &file, operation));
  } else {
    file = std::move(PERI_TRY(control.receive(from, key, operation)).file);
  }
  std::shared_ptr<os::Mapping> mapping = PERI_TRY(os::Mapping::of_file(file));
  return std::unique_ptr<Channel>(new Channel(control, sending ? to : from, std::move(mapping)));
}

Status Channel::send(const std::byte* data, int64_t bytes, uint64_t signature,
                     const job::Operation& operation) {
  PERI_TRY(control_.check_old_failure(operation));
  int64_t at = 0;
  do {
    PERI_TRY(control_.await(ring_->emptied, position_ + 1 - kSlots, peer_, operation));
    uint32_t slot = position_ % kSlots;
    int64_t chunk = std::min(bytes - at, kSlotBytes);
    ring_->signatures[slot] = signature;
    std::memcpy(ring_->texts[slot], operation.status().data(), operation.status().size_bytes());
    copy_bytes(ring_->slots[slot], data + at, chunk);
    ring_->filled.post(++position_);
    at += chunk;
  } while (at < bytes);
  return {};
}

Status Channel::receive(std::byte* data, int64_t bytes, uint64_t signature, const job::Operation& operation) {
  PERI_TRY(control_.check_old_failure(operation));
  int64_t at = 0;
  do {
    PERI_TRY(control_.await(ring_->filled, position_ + 1, peer_, operation));
    uint32_t slot = position_ % kSlots;
    if (ring_->signatures[slot] != signature)
      return operation.fail(Code::RankMismatch,
                            fmt::format("rank {} sent something else: {}", peer_, ring_->texts[slot]));
    int64_t chunk = std::min(bytes - at, kSlotBytes);
    copy_bytes(data + at, ring_->slots[slot], chunk);
    ring_->emptied.post(++position_);
    at += chunk;
  } while (at < bytes);
  return {};
}

}  // namespace peri::kernels::host
