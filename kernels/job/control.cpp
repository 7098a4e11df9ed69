#include "kernels/job/control.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "core/hash.hpp"
#include "core/thread.hpp"

namespace peri::kernels::job {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kSlice{20};  // how late a sleeping rank may notice an abort or an interrupt
// How long messages of others are still waited for when one rank has failed.
constexpr milliseconds kGracePeriod{200};
constexpr std::chrono::microseconds kSpin{50};

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

Clock::time_point deadline_of(const JobOptions& options) {
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options.timeout_s));
}

}  // namespace

uint64_t tag_of(const Group& group, std::string_view subject) {
  Hash hash;
  hash.mix(subject);
  for (int rank : group.ranks) hash.mix(static_cast<uint64_t>(rank) + 256);  // no byte of the subject
  return hash.value();
}

Operation::Operation(std::string text, Origin origin) : text_(std::move(text)), origin_(std::move(origin)) {
  std::string status = origin_.known() ? fmt::format("{} at {}", text_, origin_.to_string()) : text_;
  constexpr size_t kMaxBytes = sizeof(StatusWords) - 1;
  if (status.size() > kMaxBytes)
    status = status.substr(0, kMaxBytes / 2 - 3) + "..." + status.substr(status.size() - kMaxBytes / 2);
  std::memcpy(status_.data(), status.data(), status.size());
  status_words_ = status.size() / sizeof(uint64_t) + 1;
}

std::unexpected<Error> Operation::fail(Code code, const std::string& what,
                                       std::vector<std::string> context) const {
  return std::unexpected(Error{code, text_ + ": " + what, origin_, std::move(context)});
}

Result<std::unique_ptr<Control>> Control::join(const JobOptions& options) {
  if (options.world_size < 1 || options.rank < 0 || options.rank >= options.world_size)
    return peri::fail(Code::InvalidArgument, fmt::format("rank {} of {}", options.rank, options.world_size));
  std::unique_ptr<Control> control(new Control(options));
  control->transport_ = PERI_TRY(connect_local(options));

  const Bytes bytes = Bytes(sizeof(ControlBlock)) + Bytes(sizeof(RankRecord)) * options.world_size;
  const MessageKey key = control->only_key(tag_of(world_group(options.world_size), "control block"));
  const Operation joining("joining the job", {});
  os::Fd file;
  if (options.rank == 0) {
    file = PERI_TRY(os::create_shared_file(bytes));
    for (int peer = 1; peer < options.world_size; ++peer) control->transport_->post(peer, key, "", "", &file);
    control->mapping_ = PERI_TRY(os::Mapping::of_file(file));
    control->block_ = reinterpret_cast<ControlBlock*>(control->mapping_->data());
    control->block_->ledger.limit.store(promisable_memory().count(), std::memory_order_relaxed);
    PERI_TRY(control->converse(joining, [&] {
      std::vector<int> missing;
      for (int peer = 1; peer < options.world_size; ++peer)
        if (!control->transport_->sent(peer)) missing.push_back(peer);
      return missing;
    }));
  } else {
    file = std::move(PERI_TRY(control->receive(0, key, joining)).file);
    control->mapping_ = PERI_TRY(os::Mapping::of_file(file));
    control->block_ = reinterpret_cast<ControlBlock*>(control->mapping_->data());
  }
  if (options.world_size > 1) {
    control->stop_watching_ = os::Fd(eventfd(0, EFD_CLOEXEC));
    if (!control->stop_watching_.valid()) return os::failure(Code::IoError, "eventfd");
    control->watcher_ = PERI_TRY(start_thread([c = control.get()] { c->watch(); }));
  }
  return control;
}

Control::~Control() {
  leave();
}

void Control::enter(const Operation& operation) {
  RankRecord& mine = record(rank());
  std::span<const uint64_t> status = operation.status();
  for (size_t i = 0; i < status.size(); ++i) mine.status[i].store(status[i], std::memory_order_relaxed);
  mine.sequence.store(mine.sequence.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

std::string Control::last_entered(int rank) const {
  const RankRecord& theirs = record(rank);
  uint64_t sequence = theirs.sequence.load(std::memory_order_acquire);
  if (sequence == 0) return "has entered no operation yet";
  StatusWords words;
  for (size_t i = 0; i < kStatusWords; ++i) words[i] = theirs.status[i].load(std::memory_order_relaxed);
  char text[sizeof(words) + 1] = {};
  std::memcpy(text, words.data(), sizeof(words));
  return fmt::format("last entered {} (call #{})", text, sequence);
}

Status Control::await_slowly(SharedWord& word, uint32_t target, int peer, const Operation& operation) {
  if (options_.may_spin && word.spin(target, kSpin)) return {};
  const auto deadline = deadline_of(options_);
  for (;;) {
    auto left = deadline - Clock::now();
    if (left > Clock::duration::zero()) word.sleep(target, std::min<std::chrono::nanoseconds>(left, kSlice));
    // What a peer has done counts even if it has ended since; so its state is read before the word.
    bool peer_left = record(peer).state.load(std::memory_order_acquire) == RankState::left;
    bool awaited = is_awaited_by(peer);
    Status job = check_job(operation);
    if (word.reached(target)) return {};
    PERI_TRY(job);
    if (awaited) return mismatch(peer, operation);
    if (peer_left) return lost(peer, operation);
    if (left <= Clock::duration::zero()) return timeout({{peer}}, operation);
  }
}

Status Control::check_job(const Operation& operation) const {
  if (interrupted_.load(std::memory_order_relaxed)) return operation.fail(Code::Interrupted, "interrupted");
  if (!block_) return {};
  const uint64_t failed =
      block_->failed.load(std::memory_order_acquire);  // pairs with the exchange of `report`
  if (failed == begin_of(generation_)) return {};
  if (generation_of(failed) != generation_)
    return operation.fail(Code::PeerLost, "the other ranks have recovered from a failure without this one");
  const int reporter = reporter_of(failed);
  const RankRecord& theirs = record(reporter);
  if (theirs.code == Code::Timeout && theirs.subject != reporter)
    return operation.fail(Code::Timeout, theirs.message);
  if (theirs.code == Code::PeerLost && theirs.subject != reporter) {
    if (theirs.subject == rank()) return operation.fail(Code::PeerLost, "this rank was taken for lost");
    return operation.fail(Code::PeerLost, fmt::format("rank {} {}", theirs.subject, theirs.message),
                          {fmt::format("rank {} {}", theirs.subject, last_entered(theirs.subject))});
  }
  return operation.fail(Code::PeerLost, fmt::format("rank {} failed: {}", reporter, theirs.message));
}

// All ranks are told whom this one misses, so that those who wait for this rank name the same cause.
std::unexpected<Error> Control::lost(int peer, const Operation& operation) {
  if (!block_) return operation.fail(Code::PeerLost, fmt::format("rank {} {}", peer, kLost));
  const bool left = record(peer).state.load(std::memory_order_acquire) == RankState::left;
  const char* how = left ? "has already finished" : kLost;
  report(Code::PeerLost, peer, how);
  return operation.fail(Code::PeerLost, fmt::format("rank {} {}", peer, how),
                        {fmt::format("rank {} {}", peer, last_entered(peer))});
}

std::string Control::silence_of(int peer) const {
  return fmt::format("no sign of rank {} for {:.3g} s{}", peer, options_.timeout_s,
                     block_ ? "; it " + last_entered(peer) : "");
}

std::unexpected<Error> Control::timeout(std::span<const int> missing, const Operation& operation) const {
  std::vector<std::string> each;
  for (int peer : missing) each.push_back(silence_of(peer));
  return operation.fail(Code::Timeout, each.front(), {each.begin() + 1, each.end()});
}

std::unexpected<Error> Control::mismatch(int peer, const Operation& operation) const {
  const int low = std::min(rank(), peer), high = std::max(rank(), peer);
  auto failure = operation.fail(Code::RankMismatch, "ranks issued different operations",
                                {fmt::format("rank {} {}", low, last_entered(low)),
                                 fmt::format("rank {} {}", high, last_entered(high))});
  failure.error().hint =
      "every member of a group issues the same collectives, and calls the same compiled functions, in the "
      "same order";
  return failure;
}

// Whether the messages of these ranks can be on their way although the job has failed: it was none of them
// that failed.
bool Control::may_still_come(const std::vector<int>& waiting) const {
  const int failed = reporter_of(block_->failed.load(std::memory_order_acquire));
  return failed >= 0 &&
         std::ranges::none_of(waiting, [&](int peer) { return peer == failed || transport_->gone(peer); });
}

Status Control::converse(const Operation& operation, const std::function<std::vector<int>()>& missing) {
  const auto deadline = deadline_of(options_);
  auto grace_ends = Clock::now() + kGracePeriod;
  transport_->progress(milliseconds(0));
  for (;;) {
    Status job = check_job(operation);
    std::vector<int> waiting = missing();
    if (waiting.empty()) return {};
    // A rank may fail because of what all are about to learn, and tell the job before the others' messages
    // are here.
    if (!job && (may_still_come(waiting) && Clock::now() < grace_ends)) {
      transport_->progress(kSlice);
      continue;
    }
    PERI_TRY(job);
    grace_ends = Clock::now() + kGracePeriod;
    for (int peer : waiting) {
      if (transport_->gone(peer)) return lost(peer, operation);
    }
    if (Clock::now() >= deadline) return timeout(waiting, operation);
    transport_->progress(kSlice);
  }
}

bool Control::is_awaited_by(int peer) const {
  if (!block_) return false;
  const RankRecord& theirs = record(peer);
  const auto exchange = [&] {
    return std::tuple(theirs.missed.load(std::memory_order_acquire),
                      theirs.exchange_tag.load(std::memory_order_acquire),
                      theirs.exchange_sequence.load(std::memory_order_acquire));
  };
  const auto [missed, tag, sequence] = exchange();
  if (missed != rank() + 1 || exchange() != std::tuple(missed, tag, sequence)) return false;
  std::lock_guard lock(sequences_mutex_);
  const auto joined = sequences_.find(tag);
  return joined == sequences_.end() || joined->second < sequence;
}

Result<std::vector<std::string>> Control::exchange(const Group& group, const std::string& text,
                                                   const Operation& operation) {
  const MessageKey key = next_key(tag_of(group, "exchange"));
  std::vector<std::string> texts(group.ranks.size());
  std::vector<std::optional<Message>> messages(group.ranks.size());
  for (int peer : group.ranks)
    if (peer != rank()) transport_->post(peer, key, operation.text(), text, nullptr);
  std::atomic<int32_t>& missed = record(rank()).missed;
  record(rank()).exchange_tag.store(key.tag, std::memory_order_release);
  record(rank()).exchange_sequence.store(key.sequence, std::memory_order_release);
  const Status met = converse(operation, [&] {
    std::vector<int> missing;
    for (size_t i = 0; i < group.ranks.size(); ++i) {
      int peer = group.ranks[i];
      if (peer == rank()) continue;
      if (!messages[i]) messages[i] = transport_->take(peer, key);
      if (!messages[i] || !transport_->sent(peer)) missing.push_back(peer);
    }
    const bool waits = !missing.empty() && !(has_pending_work_ && has_pending_work_());
    missed.store(waits ? missing[0] + 1 : 0, std::memory_order_release);
    return missing;
  });
  missed.store(0, std::memory_order_release);
  PERI_TRY(met);
  for (size_t i = 0; i < group.ranks.size(); ++i) {
    if (group.ranks[i] == rank()) {
      texts[i] = text;
      continue;
    }
    if (messages[i]->what != operation.text()) return mismatch(group.ranks[i], operation);
    texts[i] = std::move(messages[i]->text);
  }
  return texts;
}

Status Control::send(int peer, const MessageKey& key, const std::string& text, const os::Fd* file,
                     const Operation& operation) {
  if (file && !transport_->passes_files(peer))
    return operation.fail(Code::Unsupported, fmt::format("no memory can be shared with rank {}", peer));
  transport_->post(peer, key, operation.text(), text, file);
  return converse(operation, [&]() -> std::vector<int> {
    if (transport_->sent(peer)) return {};
    return {peer};
  });
}

Result<Message> Control::receive(int peer, const MessageKey& key, const Operation& operation) {
  std::optional<Message> message;
  PERI_TRY(converse(operation, [&]() -> std::vector<int> {
    message = transport_->take(peer, key);
    if (message) return {};
    return {peer};
  }));
  return std::move(*message);
}

Result<std::string> first_failure(Control& control, const Group& group, const Status& mine,
                                  const Operation& operation) {
  const std::vector<std::string> outcomes =
      PERI_TRY(control.exchange(group, mine ? "" : mine.error().message, operation));
  for (size_t i = 0; i < outcomes.size(); ++i)
    if (!outcomes[i].empty()) return fmt::format("rank {}: {}", group.ranks[i], outcomes[i]);
  return "";
}

uint64_t next_allocation(Control& control, const Group& group) {
  const MessageKey key = control.next_key(tag_of(group, "allocation"));
  return (key.generation << 32) + key.sequence;
}

Status agree(Control& control, const Group& group, const Status& mine, const Operation& operation) {
  const std::string failure = PERI_TRY(first_failure(control, group, mine, operation));
  return failure.empty() ? Status{} : operation.fail(Code::OutOfMemory, failure);
}

void Control::report(Code code, int subject, const std::string& message) {
  std::lock_guard lock(report_mutex_);
  uint64_t none = block_->failed.load(std::memory_order_acquire);
  if (reporter_of(none) >= 0) return;
  RankRecord& mine = record(rank());
  mine.code = code;
  mine.subject = subject;
  std::snprintf(mine.message, sizeof(mine.message), "%s", message.c_str());
  // The first cause wins.
  block_->failed.compare_exchange_strong(none, none + static_cast<uint64_t>(rank()) + 1,
                                         std::memory_order_seq_cst);
}

void Control::abort(const Error& cause) {
  if (!has_left_) report(cause.code, rank(), first_line(cause.to_string()));
}

void Control::leave() {
  if (has_left_ || !block_) return;
  has_left_ = true;
  if (watcher_.joinable()) {
    uint64_t one = 1;
    [[maybe_unused]] ssize_t written = write(stop_watching_.get(), &one, sizeof(one));
    watcher_.join();
  }
  record(rank()).state.store(RankState::left, std::memory_order_release);
  transport_.reset();
}

}  // namespace peri::kernels::job
