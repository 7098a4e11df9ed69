// Algorithms on symmetric memory: members read each other's inputs, or write each other's outputs, in place.
// A synchronisation at the start says that the operands are ready, one at the end that nobody reads them any
// more.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/host/collectives/collective.hpp"
#include "kernels/host/collectives/collective_copy.hpp"

namespace peri::kernels::host {
namespace {

// Phases of one call, each a synchronisation with its own signature.
enum Phase : uint64_t { kStart, kMiddle, kEnd };

// The multicast address of symmetric memory, emulated: a load reduces over all members' blocks, a store
// reaches all of them.
void multimem_load_reduce(const HostCollective& c, std::vector<const std::byte*>& scratch, std::byte* to,
                          int64_t offset, int64_t bytes) {
  for (int m = 0; m < c.members(); ++m) scratch[static_cast<size_t>(m)] = c.symmetric(m) + offset;
  c.reduce(to, scratch.data(), c.members(), bytes / size_of(c.dtype));
}
void multimem_store(const HostCollective& c, int64_t offset, const std::byte* from, int64_t bytes) {
  for (int m = 0; m < c.members(); ++m)
    if (c.symmetric(m) + offset != from) copy_bytes(c.symmetric(m) + offset, from, bytes);
}

class DirectCall : public HostCall {
 public:
  // Where peers only write to this rank's memory, they have done so when they arrive, and no end barrier is
  // needed.
  DirectCall(HostCollective checked, bool peers_read)
      : c_(std::move(checked)),
        sources_(static_cast<size_t>(c_.members())),
        end_barrier_(c_.spec.end_barrier && peers_read) {}
  Status run() final {
    c_.context.control().enter(c_.operation);
    PERI_TRY(c_.context.ensure(c_.operation));
    PERI_TRY(c_.synchronize(kStart));
    PERI_TRY(move());
    if (end_barrier_) PERI_TRY(c_.synchronize(kEnd));
    return {};
  }
  void move_operand(size_t operand, std::byte* data) final { c_.move_operand(operand, data); }

 protected:
  virtual Status move() = 0;
  HostCollective c_;
  std::vector<const std::byte*> sources_;  // reused by every call of `reduce`

 private:
  bool end_barrier_;
};

// one_shot and multimem_one_shot of all_reduce, reduce_scatter and reduce: all members' (part of the) input,
// reduced here. Members that reduce nothing copy.
class PullReduce final : public DirectCall {
 public:
  explicit PullReduce(HostCollective checked)
      : DirectCall(std::move(checked), true), part_(c_.input_part(c_.me())) {}

 private:
  Status move() override {
    const int64_t total = c_.part_bytes().count();
    if (c_.keeps_input()) {
      copy_bytes(c_.output, c_.input, total);
      return {};
    }
    for (int64_t at = 0; at < total;) {
      const int64_t length = std::min(total - at, part_.row_bytes);
      multimem_load_reduce(c_, sources_, c_.output + at, part_.address(at), length);
      at += length;
    }
    return {};
  }
  Window part_;
};

// one_shot of all_gather, all_to_all and broadcast: this rank's part of every input (or the root's), copied.
class PullCopy final : public DirectCall {
 public:
  explicit PullCopy(HostCollective checked)
      : DirectCall(std::move(checked), true), from_(c_.input_part(c_.me())) {
    for (int m = 0; m < c_.members(); ++m) to_.push_back(c_.output_part(m));
  }

 private:
  Status move() override {
    const int64_t total = c_.part_bytes().count();
    if (total == 0) return {};
    for (int step = 0; step < c_.members(); ++step) {
      int m = (c_.me() + step) % c_.members();  // not all from the same member at once
      if (!c_.is_source(m)) continue;
      if (c_.symmetric(m) == c_.output) continue;  // the root's in-place broadcast
      copy_window(c_.output, to_[static_cast<size_t>(m)], c_.symmetric(m), from_, 0, total);
    }
    return {};
  }
  Window from_;
  std::vector<Window> to_;
};

// all_gather by multimem: this rank's input, stored into every output.
class PushGather final : public DirectCall {
 public:
  explicit PushGather(HostCollective checked)
      : DirectCall(std::move(checked), false), to_(c_.output_part(c_.me())) {}

 private:
  Status move() override {
    const int64_t total = c_.part_bytes().count();
    if (total == 0) return {};
    for (int64_t at = 0; at < total;) {
      const int64_t length = std::min(total - at, to_.row_bytes);
      multimem_store(c_, to_.address(at), c_.input + at, length);
      at += length;
    }
    // The others' parts are here once they have arrived, so this is no end barrier that could be left out.
    return c_.synchronize(kMiddle);
  }
  Window to_;
};

// two_shot and multimem of all_reduce: every member reduces an equal part of all inputs. The others fetch it
// from its input, or, by multimem and wherever the result stays in the input, it stores it into all inputs,
// which saves a pass over the memory.
class SplitReduce final : public DirectCall {
 public:
  static bool pushes(const HostCollective& c) {
    return c.algorithm().algorithm == Algorithm::multimem || c.in_place();
  }

  explicit SplitReduce(const HostCollective& checked)
      : DirectCall(checked, !pushes(checked)), pushes_(pushes(c_)), bytes_(c_.input_bytes().count()) {
    c_.signature += pushes_;
    // Parts are whole cache lines, so that no line is written by two.
    const int64_t even = (bytes_ + c_.members() - 1) / c_.members();
    part_ = std::max<int64_t>((even + 63) / 64 * 64, 64);
  }

 private:
  int64_t begin(int member) const { return std::min(member * part_, bytes_); }

  Status move() override {
    if (bytes_ == 0) return c_.synchronize(kMiddle);
    constexpr int64_t kTileBytes = 16 << 10;  // reduced, then stored to the others while it is in the cache
    std::byte* mine = c_.symmetric(c_.me());
    const int64_t end = begin(c_.me() + 1);
    const int64_t tile = pushes_ ? kTileBytes : part_;
    for (int64_t at = begin(c_.me()); at < end; at += tile) {
      const int64_t length = std::min(tile, end - at);
      multimem_load_reduce(c_, sources_, mine + at, at, length);
      if (pushes_) multimem_store(c_, at, mine + at, length);
    }
    PERI_TRY(c_.synchronize(kMiddle));
    if (pushes_) {
      if (c_.output != mine) copy_bytes(c_.output, mine, bytes_);
      return {};
    }
    for (int step = 0; step < c_.members(); ++step) {
      int m = (c_.me() + step) % c_.members();
      copy_bytes(c_.output + begin(m), c_.symmetric(m) + begin(m), begin(m + 1) - begin(m));
    }
    return {};
  }
  bool pushes_;
  int64_t bytes_, part_;
};

}  // namespace

std::unique_ptr<HostCall> direct_collective(HostCollective checked) {
  if (checked.algorithm().symmetric == kOutput) return std::make_unique<PushGather>(std::move(checked));
  if (checked.algorithm().clobbers_input) return std::make_unique<SplitReduce>(std::move(checked));
  if (checked.reduce) return std::make_unique<PullReduce>(std::move(checked));
  return std::make_unique<PullCopy>(std::move(checked));
}

}  // namespace peri::kernels::host
