// What the members of one group share in order to meet: an epoch and a signature per member, signal slots per
// pair, and a small workspace through which collectives stage ordinary memory. Every group has its own,
// whichever other groups overlap it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "core/error.hpp"
#include "core/types/group.hpp"
#include "kernels/job/control.hpp"
#include "kernels/job/futex.hpp"
#include "kernels/os/shared_file.hpp"

namespace peri::kernels::host {

inline constexpr int64_t kStagingBytes = 64 << 10;  // one of a member's two staging buffers
inline constexpr int kSignalChannels = 8;

class GroupContext {
 public:
  // `group` contains the control's rank.
  GroupContext(job::Control& control, const Group& group);

  const Group& group() const { return group_; }
  int size() const { return group_.size(); }
  int index() const { return index_; }
  job::Control& control() { return control_; }

  // Sets up the shared part on the first call, which is collective over the members.
  Status ensure(const job::Operation& operation) {
    if (mapping_ || size() == 1) [[likely]]
      return {};
    return set_up(operation);
  }

  // For CommunicatorOf: the shared part has the same shape wherever it is set up.
  bool is_ready() const { return mapping_ != nullptr; }
  std::string shape() const { return "ready"; }
  Status reset();
  void drop() { mapping_.reset(); }

  // Arrives at the next epoch and waits for all members to arrive there with the same signature; another
  // signature means that the ranks are in different operations. What a member wrote before is then visible to
  // all, and what it has yet to read of earlier epochs is read. Two epochs are in use at a time: nobody can
  // be two ahead.
  Status synchronize(uint64_t signature, const job::Operation& operation);

  // The staging buffer of `member` for the current epoch. It is free to be written by its owner once the
  // epoch before has begun, for then everybody has finished with the one before that: so no collective
  // through it needs an end barrier.
  std::byte* staging(int member) const { return staging_ + (member * 2 + (staged_ & 1)) * kStagingBytes; }
  void next_staging() { ++staged_; }

  Status put_signal(int member, int channel, const job::Operation& operation);
  Status wait_signal(int member, int channel, const job::Operation& operation);

 private:
  // Its own pair of cache lines: written by one, polled by all others.
  struct alignas(128) Pad {
    job::SharedWord epoch;
    std::atomic<uint64_t> signatures[2];  // by the epoch's lowest bit
  };
  struct Signal {
    job::SharedWord put, taken;  // counts; equal when none is pending
  };
  Status set_up(const job::Operation& operation);
  Signal& signal(int from, int to, int channel) const {
    return signals_[(from * size() + to) * kSignalChannels + channel];
  }
  int rank_of(int member) const { return group_.ranks[static_cast<size_t>(member)]; }

  job::Control& control_;
  Group group_;
  int index_;
  uint32_t epoch_ = 0;
  uint64_t staged_ = 0;
  std::shared_ptr<os::Mapping> mapping_;
  Pad* pads_ = nullptr;
  Signal* signals_ = nullptr;
  std::byte* staging_ = nullptr;
};

// The messages from one rank to another within a group: a ring of buffers, made by the sender alone, so that
// nobody else takes part and the sender waits only when it is full.
class Channel {
 public:
  static Result<std::unique_ptr<Channel>> open(job::Control& control, const Group& group, int from, int to,
                                               const job::Operation& operation);
  Status send(const std::byte* data, int64_t bytes, uint64_t signature, const job::Operation& operation);
  // RankMismatch if the message was sent with another signature.
  Status receive(std::byte* data, int64_t bytes, uint64_t signature, const job::Operation& operation);

 private:
  static constexpr uint32_t kSlots = 8;
  static constexpr int64_t kSlotBytes = 32 << 10;
  struct Ring {
    alignas(128) job::SharedWord filled;   // slots filled by the sender
    alignas(128) job::SharedWord emptied;  // and emptied by the receiver
    alignas(128) uint64_t signatures[kSlots];
    char texts[kSlots][sizeof(job::StatusWords)];  // of the sender's operation, for the receiver's message
    alignas(128) std::byte slots[kSlots][kSlotBytes];
  };
  job::Control& control_;
  int peer_;
  std::shared_ptr<os::Mapping> mapping_;
  Ring* ring_;
  uint32_t position_ = 0;  // slots that this side has filled or emptied

  Channel(job::Control& control, int peer, std::shared_ptr<os::Mapping> mapping);
};

}  // namespace peri::kernels::host
