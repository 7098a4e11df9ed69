// How the ranks of a job begin anew after a failure.
//
// Two steps, each a meeting of all ranks on words in the control block. At the first everybody has stopped
// doing anything of the old generation; between the two all that is shared is reset, each part by one rank,
// and rank 0 opens the next generation; at the second everybody has seen that. A rank that gives up on the
// way (deadline, interrupt) may call again: its steps still count.
#include "kernels/job/control.hpp"

namespace peri::kernels::job {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kSlice{20};

}  // namespace

Status Control::take_step(uint32_t step, const Operation& operation) {
  record(rank()).recovery.post(step);
  const auto deadline = Clock::now() + std::chrono::duration<double>(options_.timeout_s);
  for (int peer = 0; peer < options_.world_size; ++peer) {
    SharedWord& theirs = record(peer).recovery;
    for (;;) {
      // What a peer has done counts even if it has ended since; so its state is read before the word.
      const RankState state = record(peer).state.load(std::memory_order_acquire);
      if (theirs.reached(step)) break;
      if (state != RankState::running) return lost(peer, operation);
      if (interrupted_.load(std::memory_order_relaxed))
        return operation.fail(Code::Interrupted, "interrupted");
      if (Clock::now() >= deadline) return timeout({{peer}}, operation);
      theirs.sleep(step, kSlice);
    }
  }
  return {};
}

void Control::stop_generation() {
  interrupted_.store(false, std::memory_order_relaxed);
  report(Code::Interrupted, rank(), "it stopped, for the job to recover");
}

Status Control::recover(const std::function<Status()>& reset) {
  const Operation operation("recovering from a failure", {});
  stop_generation();
  enter(operation);
  const uint32_t next = generation_ + 1;
  PERI_TRY(take_step(2 * next - 1, operation));
  PERI_TRY(reset());
  if (rank() == 0) block_->failed.store(begin_of(next), std::memory_order_seq_cst);
  PERI_TRY(take_step(2 * next, operation));
  generation_ = next;
  {
    std::lock_guard lock(sequences_mutex_);
    sequences_.clear();
  }
  transport_->begin_generation(next);
  // A watcher that noticed an end while the old generation still had its failure could not report it.
  for (int peer = 0; peer < options_.world_size; ++peer)
    if (record(peer).state.load(std::memory_order_seq_cst) == RankState::lost) return lost(peer, operation);
  return {};
}

}  // namespace peri::kernels::job
