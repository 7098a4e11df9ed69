// The algorithm `ll`: operands in ordinary memory, staged through the group's workspace chunk by chunk, so
// that any size goes through a small one. A chunk costs one synchronisation: the two buffers of the workspace
// alternate (signal.hpp).
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/host/collectives/collective.hpp"
#include "kernels/host/collectives/collective_copy.hpp"

namespace peri::kernels::host {
namespace {

class StagedCall : public HostCall {
 public:
  explicit StagedCall(HostCollective checked)
      : c_(std::move(checked)), sources_(static_cast<size_t>(c_.members())) {
    for (int m = 0; m < c_.members(); ++m) {
      input_parts_.push_back(c_.input_part(m));
      output_parts_.push_back(c_.output_part(m));
    }
    // Chunks begin at multiples of the cache line, so that no element is torn.
    chunk_ = c_.is_personal() ? kStagingBytes / c_.members() / 64 * 64 : kStagingBytes;
  }

  Status run() override {
    c_.context.control().enter(c_.operation);
    PERI_TRY(c_.context.ensure(c_.operation));
    const int64_t total = c_.part_bytes().count();
    int64_t at = 0;
    do {  // an empty collective still meets
      const int64_t length = std::min(chunk_, total - at);
      c_.context.next_staging();
      stage(at, length);
      PERI_TRY(c_.synchronize(0));
      consume(at, length);
      at += length;
    } while (at < total);
    return {};
  }
  void move_operand(size_t operand, std::byte* data) override { c_.move_operand(operand, data); }

 private:
  // This rank's chunk: the same for all members, or one for each, in member order.
  void stage(int64_t at, int64_t length) {
    std::byte* mine = c_.context.staging(c_.me());
    const Window packed = Window::packed_from(at);
    if (!c_.is_source(c_.me())) return;
    for (int m = 0; m < (c_.is_personal() ? c_.members() : 1); ++m)
      copy_window(mine + m * chunk_, packed, c_.input, input_parts_[static_cast<size_t>(m)], at, length);
  }

  const std::byte* staged(int member) const {
    return c_.context.staging(member) + (c_.is_personal() ? c_.me() * chunk_ : 0);
  }

  void consume(int64_t at, int64_t length) {
    if (c_.keeps_input()) {
      if (!c_.in_place()) copy_bytes(c_.output + at, c_.input + at, length);
      return;
    }
    if (c_.reduce) {
      for (int m = 0; m < c_.members(); ++m) sources_[static_cast<size_t>(m)] = staged(m);
      // Its own chunk is warmer where it comes from.
      if (!c_.is_personal()) sources_[static_cast<size_t>(c_.me())] = c_.input + at;
      c_.reduce(c_.output + at, sources_.data(), c_.members(), length / size_of(c_.dtype));
      return;
    }
    const Window packed = Window::packed_from(at);
    for (int m = 0; m < c_.members(); ++m)
      if (c_.is_source(m))
        copy_window(c_.output, output_parts_[static_cast<size_t>(m)], staged(m), packed, at, length);
  }

  HostCollective c_;
  std::vector<const std::byte*> sources_;
  std::vector<Window> input_parts_, output_parts_;
  int64_t chunk_;
};

class BarrierCall final : public HostCall {
 public:
  explicit BarrierCall(HostCollective checked) : c_(std::move(checked)) {}
  Status run() override {
    c_.context.control().enter(c_.operation);
    PERI_TRY(c_.context.ensure(c_.operation));
    return c_.synchronize(0);
  }
  void move_operand(size_t, std::byte*) override {}

 private:
  HostCollective c_;
};

class MessageCall final : public HostCall {
 public:
  explicit MessageCall(HostCollective checked) : c_(std::move(checked)), signature_(c_.message_signature()) {}
  Status run() override {
    job::Control& control = c_.context.control();
    control.enter(c_.operation);
    const bool sending = c_.info().inputs > 0;
    const int me = control.rank(), peer = c_.spec.peer;
    if (!channel_)
      channel_ = PERI_TRY(
          c_.communicator.channel(c_.group(), sending ? me : peer, sending ? peer : me, c_.operation));
    if (sending) return channel_->send(c_.input, c_.input_bytes().count(), signature_, c_.operation);
    return channel_->receive(c_.output, c_.output_bytes().count(), signature_, c_.operation);
  }
  void move_operand(size_t operand, std::byte* data) override { c_.move_operand(operand, data); }

 private:
  HostCollective c_;
  uint64_t signature_;
  Channel* channel_ = nullptr;
};

}  // namespace

std::unique_ptr<HostCall> staged_collective(HostCollective checked) {
  switch (checked.info().sources) {
    case Sources::peer:
      return std::make_unique<MessageCall>(std::move(checked));
    case Sources::nobody:
      return std::make_unique<BarrierCall>(std::move(checked));
    case Sources::members:
    case Sources::root:
    case Sources::members_to_root:
      break;
  }
  return std::make_unique<StagedCall>(std::move(checked));
}

}  // namespace peri::kernels::host
