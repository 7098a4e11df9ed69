// The job's control plane: who takes part, what each rank is doing, whether the job has failed and why, and
// every wait of one rank for another. All waits end: with the value, at the deadline, on the user's
// interrupt, or when the job fails.
//
// A failure belongs to a generation, after MPI's User Level Failure Mitigation: it ends every wait of this
// generation on every rank. Then the ranks may recover together, and the next generation begins as the first
// one did, with what is under way from before ignored. A rank that has ended is missed in every generation.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "kernels/backend.hpp"
#include "kernels/job/futex.hpp"
#include "kernels/job/memory_ledger.hpp"
#include "kernels/job/transport.hpp"
#include "kernels/os/shared_file.hpp"

namespace peri::kernels::job {

// A text of bounded length that peers may read while it changes (then it reads as a mixture, never outside).
inline constexpr size_t kStatusWords = 20;
using StatusWords = std::array<uint64_t, kStatusWords>;

// One thing that a rank does with others, as its own errors and those of its peers name it.
class Operation {
 public:
  Operation(std::string text, Origin origin);
  const std::string& text() const { return text_; }  // "all_reduce f32[4] sum over {0,1}"
  const Origin& origin() const { return origin_; }
  // Text and origin for peers to read, ended by a zero byte.
  std::span<const uint64_t> status() const { return {status_.data(), status_words_}; }
  std::unexpected<Error> fail(Code code, const std::string& what,
                              std::vector<std::string> context = {}) const;

 private:
  std::string text_;
  Origin origin_;
  StatusWords status_{};
  size_t status_words_;
};

// What errors say of a rank that has ended without saying why.
inline constexpr const char* kLost = "was lost (killed or exited)";

enum class RankState : int32_t { running, left, lost };

struct alignas(64) RankRecord {
  std::atomic<RankState> state;
  std::atomic<uint64_t> sequence;  // of the operation that it last entered; 0: none yet
  std::array<std::atomic<uint64_t>, kStatusWords> status;
  // The exchange that it is in, and 1 + the member that it misses there; 0 if it is in none.
  std::atomic<uint64_t> exchange_tag, exchange_sequence;
  std::atomic<int32_t> missed;
  std::atomic<uint32_t> heartbeat;  // counted up by its watcher
  SharedWord recovery;              // the steps towards next generations that it has taken, two for each
  // Why this rank says that the generation has failed. Plain memory: written before the rank's name is put
  // into `failed`, and not again in that generation.
  Code code;
  int32_t subject;  // the rank that is to blame
  char message[400];
};

struct ControlBlock {
  MemoryLedger ledger;
  // Upper half: the generation. Lower half: 0, or 1 + the rank whose record has the first cause of its
  // failure.
  std::atomic<uint64_t> failed;
  RankRecord ranks[];
};

// The parts of `ControlBlock::failed`.
constexpr uint64_t begin_of(uint32_t generation) {
  return static_cast<uint64_t>(generation) << 32;
}
constexpr uint32_t generation_of(uint64_t failed) {
  return static_cast<uint32_t>(failed >> 32);
}
constexpr int reporter_of(uint64_t failed) {  // -1: the generation has not failed
  return static_cast<int>(static_cast<uint32_t>(failed)) - 1;
}

class Control {
 public:
  // Connects to all ranks, shares the block that rank 0 makes, and begins to watch the peers.
  static Result<std::unique_ptr<Control>> join(const JobOptions& options);
  ~Control();

  const JobOptions& options() const { return options_; }
  int rank() const { return options_.rank; }
  std::shared_ptr<MemoryLedger> ledger() const { return {mapping_, &block_->ledger}; }
  std::atomic<bool>& interrupt_flag() { return interrupted_; }

  // Tells the peers what this rank is about to do.
  void enter(const Operation& operation);
  // Waits until `peer` has brought its word to `target`.
  Status await(SharedWord& word, uint32_t target, int peer, const Operation& operation) {
    if (word.reached(target)) [[likely]]
      return {};
    return await_slowly(word, target, peer, operation);
  }
  // For waits that happen elsewhere, on a device: why they should end (the job has failed, an interrupt), and
  // the errors of ranks that meet in different operations, of a wait that was too long, of a peer that ended.
  Status check_job(const Operation& operation) const;
  // For a rank that waits for nobody: the failure of this generation once it is a second old. Until then a
  // rank may finish what its peers have done their part of, and meet the same error by itself.
  Status check_old_failure(const Operation& operation) const {
    if (generation_of(old_failure_.load(std::memory_order_relaxed)) != generation_ ||
        reporter_of(old_failure_.load(std::memory_order_relaxed)) < 0) [[likely]]
      return {};
    return check_job(operation);
  }
  std::unexpected<Error> mismatch(int peer, const Operation& operation) const;
  std::unexpected<Error> timeout(std::span<const int> missing, const Operation& operation) const;
  std::unexpected<Error> lost(int peer, const Operation& operation);
  // How many operations a rank has entered: of those that meet, the one with the fewest is behind.
  uint64_t operations_entered(int peer) const {
    return record(peer).sequence.load(std::memory_order_relaxed);
  }
  bool peer_has_left(int peer) const {
    return record(peer).state.load(std::memory_order_acquire) == RankState::left;
  }

  // Whether the peer is in an exchange that this rank has not joined, and waits there for this rank, and all
  // that it has issued before is done. So a rank that waits for something else of the peer waits in vain.
  bool is_awaited_by(int peer) const;
  // Of a device that works asynchronously: asked while this rank waits in an exchange.
  void set_pending_work(std::function<bool()> pending) { has_pending_work_ = std::move(pending); }

  // Every member's text, in group order.
  Result<std::vector<std::string>> exchange(const Group& group, const std::string& text,
                                            const Operation& operation);
  // One message, outside any exchange. Sending waits for room in the socket only.
  Status send(int peer, const MessageKey& key, const std::string& text, const os::Fd* file,
              const Operation& operation);
  Result<Message> receive(int peer, const MessageKey& key, const Operation& operation);
  // The next key of a tag: members count alike because they do the same things in the same order.
  MessageKey next_key(uint64_t tag) {
    std::lock_guard lock(sequences_mutex_);
    return {generation_, tag, ++sequences_[tag]};
  }
  // The key of a conversation that a generation has once.
  MessageKey only_key(uint64_t tag) const { return {generation_, tag, 0}; }

  // Ends this generation: what waits on any rank ends with the cause. Does nothing if it has failed already.
  void abort(const Error& cause);
  // As an abort, by a rank that is about to recover; and forgets the user's interrupt.
  void stop_generation();
  // How often the job has recovered. Changes within `recover` only.
  uint32_t generation() const { return generation_; }
  // Collective over the world: ends this generation, if nothing has yet, and begins the next. When all ranks
  // are here, and so nobody uses anything of this generation any more, `reset` is called on each: what ranks
  // share and what they count must then be as it was in the beginning. Deadline: timeout_s. PeerLost if a
  // rank has ended. After an error it may be called again.
  Status recover(const std::function<Status()>& reset);
  void leave();
  bool has_left() const { return has_left_; }

 private:
  // What a watcher remembers of a peer's heartbeat.
  struct Pulse {
    uint32_t last = 0;
    int64_t looks = 0;  // since it changed
  };
  explicit Control(const JobOptions& options) : options_(options) {}
  RankRecord& record(int rank) const { return block_->ranks[rank]; }
  Status await_slowly(SharedWord& word, uint32_t target, int peer, const Operation& operation);
  bool may_still_come(const std::vector<int>& waiting) const;
  // Polls the transport until `missing` names no rank.
  Status converse(const Operation& operation, const std::function<std::vector<int>()>& missing);
  std::string last_entered(int rank) const;
  std::string silence_of(int peer) const;
  void report(Code code, int subject, const std::string& message);
  void report_lost(int peer);
  Status take_step(uint32_t step, const Operation& operation);
  void watch();
  void look_at_heartbeats(std::vector<Pulse>& pulses);
  void look_at_failure(uint64_t& last, int& looks);

  JobOptions options_;
  std::atomic<bool> interrupted_{false};
  std::function<bool()> has_pending_work_;
  std::shared_ptr<os::Mapping> mapping_;
  ControlBlock* block_ = nullptr;
  std::unique_ptr<Transport> transport_;
  uint32_t generation_ = 0;
  std::map<uint64_t, uint64_t> sequences_;  // conversations begun in this generation, by tag
  mutable std::mutex sequences_mutex_;      // a backend's thread may ask what this rank has joined
  bool has_left_ = false;
  std::atomic<uint64_t> old_failure_{
      0};                    // a value of the block's `failed`, which the watcher has seen for long
  std::mutex report_mutex_;  // the watcher and the rank itself may both have something to report
  os::Fd stop_watching_;
  std::jthread watcher_;
};

// Collective: the outcome of the first member, in group order, whose step failed, as "rank 1: why"; empty if
// none did. An error means that the members could not be asked.
Result<std::string> first_failure(Control& control, const Group& group, const Status& mine,
                                  const Operation& operation);
// Collective: OutOfMemory on all members, with the first failure, if one member's step failed.
Status agree(Control& control, const Group& group, const Status& mine, const Operation& operation);

// Collective: the identity of the group's next allocation, which no other in any generation has.
uint64_t next_allocation(Control& control, const Group& group);

// A tag of conversations among a group's members.
uint64_t tag_of(const Group& group, std::string_view subject);

}  // namespace peri::kernels::job
