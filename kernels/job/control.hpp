// The job's control plane: who takes part, what each rank is doing, whether the job has failed and why, and
// every wait of one rank for another. All waits end: with the value, at the deadline, on the user's
// interrupt, or when the job is aborted.
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
#include "kernels/job/rendezvous.hpp"
#include "kernels/os/shared_file.hpp"

namespace peri::kernels::job {

// A text of bounded length that peers may read while it changes (then it reads as a mixture, never outside).
inline constexpr size_t kNoteWords = 20;
using NoteWords = std::array<uint64_t, kNoteWords>;

// One thing that a rank does with others, as its own errors and those of its peers name it.
class Operation {
 public:
  Operation(std::string text, Origin origin);
  const std::string& text() const { return text_; }  // "all_reduce f32[4] sum over {0,1}"
  const Origin& origin() const { return origin_; }
  std::span<const uint64_t> note() const {
    return {note_.data(), note_words_};
  }  // text and origin, ends with a zero byte
  std::unexpected<Error> fail(Code code, const std::string& what,
                              std::vector<std::string> context = {}) const;

 private:
  std::string text_;
  Origin origin_;
  NoteWords note_{};
  size_t note_words_;
};

enum class RankState : int32_t { running, left };

struct alignas(64) RankRecord {
  std::atomic<RankState> state;
  std::atomic<uint64_t> sequence;  // of the operation that it last entered; 0: none yet
  std::array<std::atomic<uint64_t>, kNoteWords> note;
  // Why this rank says that the job has failed. Plain memory: written once, before the rank's name is put
  // into `failed`.
  Code code;
  int32_t subject;  // the rank that is to blame
  char message[400];
};

struct ControlBlock {
  MemoryLedger ledger;
  std::atomic<uint32_t> failed;  // 0, or 1 + the rank whose record has the first cause
  RankRecord ranks[];
};

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

  // Every member's text, in group order.
  Result<std::vector<std::string>> exchange(const Group& group, const std::string& text,
                                            const Operation& operation);
  // One message, outside any exchange. Sending waits for room in the socket only.
  Status send(int peer, MessageKey key, const std::string& text, const os::Fd* file,
              const Operation& operation);
  Result<Message> receive(int peer, MessageKey key, const Operation& operation);
  // The next key of a topic: members count alike because they do the same things in the same order.
  MessageKey next_key(uint64_t topic) { return {topic, ++sequences_[topic]}; }

  void abort(const Error& cause);
  void leave();
  bool has_left() const { return has_left_; }

 private:
  explicit Control(const JobOptions& options) : options_(options) {}
  RankRecord& record(int rank) const { return block_->ranks[rank]; }
  Status await_slowly(SharedWord& word, uint32_t target, int peer, const Operation& operation);
  bool may_still_come(const std::vector<int>& waiting) const;
  // Turns the mailbox's crank until `missing` names no rank.
  Status converse(const Operation& operation, const std::function<std::vector<int>()>& missing);
  std::string last_entered(int rank) const;
  void report(Code code, int subject, const std::string& message);
  void watch();

  JobOptions options_;
  std::atomic<bool> interrupted_{false};
  std::shared_ptr<os::Mapping> mapping_;
  ControlBlock* block_ = nullptr;
  Mailbox mailbox_;
  std::map<uint64_t, uint64_t> sequences_;  // conversations begun, by topic
  bool has_left_ = false;
  std::mutex report_mutex_;  // the watcher and the rank itself may both have something to report
  bool reported_ = false;
  os::Fd stop_watching_;
  std::thread watcher_;
};

// Collective: the outcome of the first member, in group order, whose step failed, as "rank 1: why"; empty if
// none did. An error means that the members could not be asked.
Result<std::string> first_failure(Control& control, const Group& group, const Status& mine,
                                  const Operation& operation);
// Collective: OutOfMemory on all members, with the first failure, if one member's step failed.
Status agree(Control& control, const Group& group, const Status& mine, const Operation& operation);

// A topic of conversation among a group's members.
uint64_t topic_of(const Group& group, std::string_view subject);

}  // namespace peri::kernels::job
