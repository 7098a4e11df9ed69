// See outputs.hpp.
#include "cudagraph/outputs.hpp"

#include <algorithm>
#include <bit>

namespace peri::cudagraph {
namespace {

constexpr int64_t kMaxSets = 64;
constexpr int64_t kMaxCalls = 128;    // in the recordings of all sets, if each has one
constexpr Bytes kMaxBytes(16 << 20);  // of all sets: in turn they should not drive each other from caches

// A power of two: where one function's outputs are another's inputs, and both take their sets in turn, the
// pairs that need a recording are then as few as the sets of the one that has more.
size_t max_sets(Bytes bytes, int64_t calls) {
  const int64_t wanted =
      std::min(kMaxBytes / std::max(bytes, Bytes(1)), kMaxCalls / std::max<int64_t>(calls, 1));
  return std::bit_floor(static_cast<uint64_t>(std::clamp<int64_t>(wanted, 2, kMaxSets)));
}

}  // namespace

Outputs::Outputs(const planner::Plan& plan, PlanStorage& storage, kernels::Backend& backend, int64_t calls)
    : plan_(plan), storage_(storage), backend_(backend) {
  Bytes bytes;
  for (const planner::PlanOutput& o : plan.outputs) {
    const BufferId id = o.value.buffer;
    block_of_.push_back(-1);
    if (o.mutated_input >= 0 || storage.is_per_call(id)) continue;
    const auto same =
        std::ranges::find_if(buffers_, [&](BufferId other) { return storage.share_a_slot(other, id); });
    block_of_.back() = static_cast<int>(same - buffers_.begin());
    if (same != buffers_.end()) continue;
    buffers_.push_back(id);
    bytes += plan.buffer(id).bytes();
  }
  max_sets_ = buffers_.empty() ? 1 : max_sets(bytes, calls);
}

// The lowest: after the caller's language has collected, all functions begin again with their first sets, and
// so meet the addresses that they have recorded.
size_t Outputs::find_free() const {
  const auto is_free = [](const Set& set) {
    return std::ranges::all_of(set, [](const auto& block) { return block.use_count() == 1; });
  };
  return std::ranges::find_if(sets_, is_free) - sets_.begin();
}

Status Outputs::add_set() {
  Set set;
  for (BufferId id : buffers_) {
    const planner::Buffer& buffer = plan_.buffer(id);
    set.push_back(PERI_TRY(backend_.allocate(buffer.bytes(), buffer.type.place)));
    set.back()->set_recurring();
  }
  sets_.push_back(std::move(set));
  return {};
}

Result<size_t> Outputs::choose() {
  size_t next = find_free();
  if (next == sets_.size()) {
    if (sets_.size() < max_sets_) {
      PERI_TRY(add_set());
    } else {
      next = (chosen_ + 1) % sets_.size();
      PERI_TRY(move_contents(sets_[next]));
    }
  }
  chosen_ = next;
  for (size_t i = 0; i < buffers_.size(); ++i) storage_.bind(buffers_[i], sets_[chosen_][i]->data());
  return chosen_;
}

// Every holder's tensor follows to the new block, and the set keeps its addresses.
Status Outputs::move_contents(Set& set) {
  for (std::shared_ptr<kernels::Storage>& block : set) {
    if (block.use_count() == 1) continue;
    const Bytes bytes = block->bytes();
    std::shared_ptr<kernels::Storage> moved = PERI_TRY(backend_.allocate(bytes, block->place()));
    const OperandType type{DType::u8, View::contiguous({bytes.count()})};
    PERI_TRY(backend_.copy({block->data(), type}, {moved->data(), type}));
    block->exchange_memory(*moved);
    block = std::move(moved);
  }
  return {};
}

std::vector<kernels::Tensor> Outputs::take() {
  std::vector<kernels::Tensor> result;
  result.reserve(plan_.outputs.size());
  for (size_t i = 0; i < plan_.outputs.size(); ++i) {
    const auto& [value, mutated_input] = plan_.outputs[i];
    if (mutated_input >= 0) continue;
    const OperandType& type = value.type;
    result.push_back({block_of_[i] < 0 ? storage_.block(value.buffer) : sets_[chosen_][block_of_[i]],
                      {type.dtype, type.view.shape, plan_.buffer(value.buffer).type.place},
                      type.view});
  }
  for (const planner::PlanOutput& o : plan_.outputs) storage_.end(o.value.buffer);
  return result;
}

}  // namespace peri::cudagraph
