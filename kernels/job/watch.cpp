// How a rank notices that another has ended or stands still, whatever it is doing itself and whichever groups
// they share.
#include <fmt/format.h>
#include <poll.h>

#include "kernels/job/control.hpp"

namespace peri::kernels::job {
namespace {

constexpr std::chrono::milliseconds kBeat{200};
// A rank that waits for a silent one names it at the deadline. Who does not wait, some beats later.
constexpr int64_t kSpareBeats = 5;
constexpr int kOldFailure = 5;  // beats

}  // namespace

void Control::report_lost(int peer) {
  RankState state = RankState::running;
  record(peer).state.compare_exchange_strong(state, RankState::lost, std::memory_order_seq_cst);
  if (state != RankState::left) report(Code::PeerLost, peer, kLost);
}

// Counts looks and not time: a rank that was stopped itself does not take the others for silent.
void Control::look_at_heartbeats(std::vector<Pulse>& pulses) {
  record(rank()).heartbeat.fetch_add(1, std::memory_order_relaxed);
  const auto allowed = static_cast<int64_t>(std::chrono::duration<double>(options_.timeout_s) / kBeat);
  for (int peer = 0; peer < options_.world_size; ++peer) {
    Pulse& pulse = pulses[static_cast<size_t>(peer)];
    const uint32_t beat = record(peer).heartbeat.load(std::memory_order_relaxed);
    if (peer == rank() || beat != pulse.last || record(peer).state.load() != RankState::running) {
      pulse = {.last = beat};
    } else if (++pulse.looks == allowed + kSpareBeats) {
      report(Code::Timeout, peer, silence_of(peer));
      pulse.looks = 0;
    }
  }
}

void Control::look_at_failure(uint64_t& last, int& looks) {
  const uint64_t failed = block_->failed.load(std::memory_order_acquire);
  looks = reporter_of(failed) >= 0 && failed == last ? looks + 1 : 0;
  last = failed;
  if (looks >= kOldFailure) old_failure_.store(failed, std::memory_order_relaxed);
}

// A thread of its own, because a rank that computes or sleeps on a futex does not look at its sockets.
void Control::watch() {
  std::vector<pollfd> polled{{stop_watching_.get(), POLLIN, 0}};
  std::vector<int> ranks{-1};
  for (int peer = 0; peer < options_.world_size; ++peer) {
    if (peer == rank()) continue;
    for (const pollfd& sign : transport_->signs_of_end(peer)) {
      polled.push_back(sign);
      ranks.push_back(peer);
    }
  }
  std::vector<Pulse> pulses(static_cast<size_t>(options_.world_size));
  uint64_t failed = 0;
  int looks_at_failure = 0;
  for (auto next_beat = std::chrono::steady_clock::now();;) {
    if (poll(polled.data(), polled.size(), static_cast<int>(kBeat.count())) > 0) {
      if (polled[0].revents) return;
      for (size_t i = 1; i < polled.size(); ++i) {
        if (!polled[i].revents) continue;
        report_lost(ranks[i]);
        polled[i].fd = -1;  // no longer polled
      }
    }
    if (const auto now = std::chrono::steady_clock::now(); now >= next_beat) {
      next_beat = now + kBeat;
      look_at_heartbeats(pulses);
      look_at_failure(failed, looks_at_failure);
    }
  }
}

}  // namespace peri::kernels::job
