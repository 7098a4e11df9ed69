// See outputs.hpp.
#include "cudagraph/outputs.hpp"

#include <algorithm>
#include <bit>
#include <functional>

namespace peri::cudagraph {
namespace {

// Bytes of all sets: in turn they should not drive each other from caches. And of those of a caller who holds
// more at once.
constexpr Bytes kMaxBytes(16 << 20);
constexpr Bytes kMaxHeldBytes(256 << 20);
// Sets with a recording each, and calls in all those recordings.
constexpr int64_t kMaxSets = 64;
constexpr int64_t kMaxCalls = 128;
// Sets that share a recording; and how many of them are looked at for one that is free.
constexpr int64_t kMaxFollowed = 512;
constexpr size_t kLooks = 5;

size_t sets_in(Bytes bytes, Bytes bytes_of_one, int64_t most) {
  return std::clamp<int64_t>(std::min(bytes / std::max(bytes_of_one, Bytes(1)), most), 2, kMaxFollowed);
}

}  // namespace

Outputs::Outputs(const planner::Plan& plan, PlanStorage& storage, kernels::Backend& backend, int64_t calls)
    : plan_(plan), storage_(storage), backend_(backend), followed_(backend.follows_blocks()) {
  for (const planner::PlanOutput& o : plan.outputs) {
    const BufferId id = o.value.buffer;
    block_of_.push_back(-1);
    if (o.mutated_input >= 0 || storage.is_per_call(id)) continue;
    const auto same =
        std::ranges::find_if(buffers_, [&](BufferId other) { return storage.share_a_slot(other, id); });
    block_of_.back() = static_cast<int>(same - buffers_.begin());
    if (same != buffers_.end()) continue;
    buffers_.push_back(id);
    set_bytes_ += plan.buffer(id).bytes();
    if (followed_) storage.follow(id);
  }
  if (buffers_.empty()) return;
  // A power of two: where one function's outputs are another's inputs, and both take their sets in turn, the
  // pairs that need a recording are then as few as the sets of the one that has more.
  const int64_t most = followed_ ? kMaxFollowed : std::min(kMaxSets, kMaxCalls / std::max<int64_t>(calls, 1));
  max_sets_ = std::bit_floor(sets_in(kMaxBytes, set_bytes_, most));
  max_held_sets_ = followed_ ? max_sets_ : std::max(max_sets_, sets_in(kMaxHeldBytes, set_bytes_, most));
}

bool Outputs::is_free(const Set& set) {
  return std::ranges::all_of(set, [](const auto& block) { return block.use_count() == 1; });
}

// Where each set has recordings of its own, the lowest: after the caller's language has collected, all
// functions begin again with their first sets, and so meet the addresses that they have recorded. Else the
// last again, or the next in turn, as they are dropped in turn. A look at all of them may take longer than a
// call, and is worth it once in half as many calls.
size_t Outputs::find_free() const {
  if (!followed_) return std::ranges::find_if(sets_, is_free) - sets_.begin();
  const size_t looks = may_look_at_all() ? sets_.size() : std::min(kLooks, sets_.size());
  for (size_t look = 0; look < looks; ++look)
    if (const size_t next = (looked_at_ + look) % sets_.size(); is_free(sets_[next])) return next;
  return sets_.size();
}

// Until half of the sets are free: else the caller would have to collect again soon.
bool Outputs::make_room() {
  if (max_sets_ == max_held_sets_) return has_free();
  const auto held = static_cast<size_t>(std::ranges::count_if(sets_, std::not_fn(is_free)));
  if (2 * held > max_sets_) ++max_sets_;
  return held < max_sets_;
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

void Outputs::release() {
  if (buffers_.empty()) return;
  sets_.clear();
  chosen_ = looked_at_ = calls_since_scan_ = 0;
}

Status Outputs::choose() {
  size_t next = find_free();
  const bool is_near = next < sets_.size() && (next - looked_at_ + sets_.size()) % sets_.size() < kLooks;
  calls_since_scan_ = is_near || !may_look_at_all() ? calls_since_scan_ + 1 : 0;
  if (next < sets_.size()) {
    looked_at_ = next;
    for (const auto& block : sets_[next]) block->set_recurring();
  } else if (sets_.size() < max_sets_) {
    if (!sets_.empty()) looked_at_ = (looked_at_ + kLooks) % sets_.size();
    PERI_TRY(add_set());
  } else {
    next = looked_at_ = (looked_at_ + 1) % sets_.size();
    PERI_TRY(followed_ ? give_away(sets_[next]) : move_contents(sets_[next]));
  }
  chosen_ = next;
  for (size_t i = 0; i < buffers_.size(); ++i) storage_.bind(buffers_[i], sets_[chosen_][i]->data());
  return {};
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

// Until they are taken again, the new blocks are not recurring: who counts new memory counts them.
Status Outputs::give_away(Set& set) {
  for (std::shared_ptr<kernels::Storage>& block : set)
    if (block.use_count() > 1) block = PERI_TRY(backend_.allocate(block->bytes(), block->place()));
  return {};
}

std::vector<kernels::Tensor> Outputs::take() {
  std::vector<kernels::Tensor> result;
  result.reserve(plan_.outputs.size());
  for (size_t i = 0; i < plan_.outputs.size(); ++i) {
    const auto& [value, mutated_input] = plan_.outputs[i];
    if (mutated_input >= 0) continue;
    const OperandType& type = value.type;
    result.push_back({block_of_[i] < 0 ? storage_.memory(value.buffer) : sets_[chosen_][block_of_[i]],
                      {type.dtype, type.view.shape, plan_.buffer(value.buffer).type.place},
                      type.view});
  }
  for (const planner::PlanOutput& o : plan_.outputs) storage_.end(o.value.buffer);
  return result;
}

}  // namespace peri::cudagraph
