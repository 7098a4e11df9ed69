// Recordings follow ordinary inputs if the backend's do. If not, one whose address keeps changing is copied
// to a block of the executable's, which costs less than recording again; but not where a recording is there,
// and not when it lies still again. A symmetric or mutated one cannot be copied, so it is recorded for its
// recent addresses; and so is one that lies in an executable's outputs, whose addresses come again.
#include "cudagraph/inputs.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace peri::cudagraph {
namespace {

constexpr int kMissesBeforeCopying = 2;
// At the same address, until an input that has been copied is recorded where it lies.
constexpr int kMissesAtRest = 8;

// What a window spans of its storage: [first, last).
std::pair<Bytes, Bytes> extent(const kernels::Tensor& t) {
  if (numel(t.view.shape) == 0) return {};
  Elements low = t.view.offset, high = low;
  for (int i = 0; i < t.view.shape.rank(); ++i) {
    const Elements span((t.view.shape[i] - 1) * t.view.strides[i]);
    (span < Elements() ? low : high) += span;
  }
  return {bytes_of(low, t.type.dtype), bytes_of(high + Elements(1), t.type.dtype)};
}

bool overlap(const kernels::Tensor& a, const kernels::Tensor& b) {
  const auto [a_first, a_last] = extent(a);
  const auto [b_first, b_last] = extent(b);
  return a_first < b_last && b_first < a_last;
}

std::unexpected<Error> refuse(std::string subject) {
  return fail(
      Code::InvalidArgument, std::move(subject) + ", and is written in place", {},
      "a copy (x + 0) would be changed instead of the tensor itself: copy the result back with copy_");
}

}  // namespace

Inputs::Inputs(const planner::Plan& plan, PlanStorage& storage, kernels::Backend& backend,
               std::vector<kernels::Tensor> constants)
    : plan_(plan),
      storage_(storage),
      backend_(backend),
      constants_(std::move(constants)),
      constant_copies_(constants_.size()),
      states_(plan.inputs.size()),
      sources_(plan.inputs.size() + constants_.size()) {
  for (const planner::PlanOutput& o : plan.outputs)
    if (o.mutated_input >= 0) states_[o.mutated_input].mutated = any_mutated_ = true;
  for (size_t i = 0; i < states_.size(); ++i) {
    const bool symmetric = plan.buffer(plan.inputs[i]).is_symmetric();
    states_[i].in_place = states_[i].mutated || symmetric;
    states_[i].followed = backend.follows_blocks() && !symmetric;
    if (states_[i].followed) storage.follow(plan.inputs[i]);
  }
}

Status Inputs::allocate(std::shared_ptr<kernels::Storage>& copy, const kernels::Tensor& t) {
  if (copy) return {};
  copy = PERI_TRY(backend_.allocate(t.type.bytes(), t.type.place));
  copied_bytes_ += copy->bytes();
  return {};
}

void Inputs::release() {
  for (State& state : states_) state.copy.reset();
  for (auto& copy : constant_copies_) copy.reset();
  copied_bytes_ = {};
}

// Windows of one storage stand side by side after sorting; others need not be compared.
Status Inputs::check_aliasing(InputTensors inputs) {
  if (!any_mutated_) return {};
  windows_.clear();
  for (const kernels::Tensor* t : inputs) windows_.push_back({t->storage.get(), windows_.size(), t});
  for (const kernels::Tensor& t : constants_) windows_.push_back({t.storage.get(), windows_.size(), &t});
  std::ranges::sort(windows_, {}, [](const Window& w) { return std::pair(w.storage, w.number); });
  const auto other_storage = [](const Window& a, const Window& b) { return a.storage != b.storage; };
  for (auto first = windows_.begin(); first != windows_.end();) {
    auto last = std::adjacent_find(first, windows_.end(), other_storage);
    if (last != windows_.end()) ++last;
    PERI_TRY(check_overlaps({first, last}));
    first = last;
  }
  return {};
}

Status Inputs::check_overlaps(std::span<const Window> windows) const {
  for (const Window& a : windows) {
    if (a.number >= states_.size() || !states_[a.number].mutated) continue;
    for (const Window& b : windows) {
      if (a.number == b.number || !overlap(*a.tensor, *b.tensor)) continue;
      return refuse(
          b.number < states_.size()
              ? fmt::format("argument {} shares memory with argument {}", a.number + 1, b.number + 1)
              : fmt::format("argument {} shares memory with a tensor that the function captured",
                            a.number + 1));
    }
  }
  return {};
}

Status Inputs::bind(InputTensors inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const kernels::Tensor& t = *inputs[i];
    State& state = states_[i];
    const BufferId id = plan_.inputs[i];
    const bool contiguous = t.view.is_contiguous();
    if (state.in_place && !contiguous)
      return fail(
          Code::InvalidArgument,
          fmt::format("argument {} is written in place or symmetric, but is not contiguous here", i + 1), {},
          "make the tensor in this order of dimensions; a copy (x:contiguous()) would be changed instead of "
          "it");
    if (!contiguous) {
      PERI_TRY(bind_copy(i, t));
      continue;
    }
    storage_.bind(id, t.data());
    if (!state.followed) note_source(i, id, t.storage);
  }
  return bind_constants();
}

Status Inputs::bind_copy(size_t index, const kernels::Tensor& t) {
  State& state = states_[index];
  const BufferId id = plan_.inputs[index];
  PERI_TRY(allocate(state.copy, t));
  storage_.bind(id, state.copy->data());
  if (!state.followed) note_source(index, id, state.copy);
  return backend_.copy(operand_of(t), storage_.whole(id));
}

// A captured tensor may be another executable's output, whose contents move when it is held too long. One
// that is not contiguous is copied anew: it may have been changed in place since.
Status Inputs::bind_constants() {
  for (size_t i = 0; i < constants_.size(); ++i) {
    const kernels::Tensor& t = constants_[i];
    const BufferId id = plan_.constants[i];
    std::shared_ptr<kernels::Storage>& copy = constant_copies_[i];
    if (!t.view.is_contiguous()) PERI_TRY(allocate(copy, t));
    storage_.bind(id, copy ? copy->data() : t.data());
    note_source(plan_.inputs.size() + i, id, copy ? copy : t.storage);
    if (copy) PERI_TRY(backend_.copy(operand_of(t), storage_.whole(id)));
  }
  return {};
}

void Inputs::note_source(size_t index, BufferId id, const std::shared_ptr<kernels::Storage>& storage) {
  if (!storage_.is_recorded(id)) return;
  sources_[index].data = storage_.data(id);
  if (storage->is_symmetric()) sources_[index].symmetric = storage;
}

bool Inputs::should_copy(size_t index, const kernels::Tensor& t, const RecordedCall& last, bool full) {
  State& state = states_[index];
  if (state.followed || state.in_place || !t.view.is_contiguous()) return false;
  if (state.moves) {
    state.rests = state.missed_at == t.data() ? state.rests + 1 : 0;
    state.missed_at = t.data();
    if (state.rests < kMissesAtRest) return true;
    state.moves = false;
    state.misses = state.rests = 0;
    return false;
  }
  const bool comes_again = t.storage->is_recurring() && !full;
  if (comes_again || last.sources[index] == sources_[index]) return false;
  state.moves = ++state.misses >= kMissesBeforeCopying;
  return state.moves;
}

Result<bool> Inputs::copy_moving(InputTensors inputs, const RecordedCall* last, bool full) {
  if (!last) return false;
  bool copied = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!should_copy(i, *inputs[i], *last, full)) continue;
    PERI_TRY(bind_copy(i, *inputs[i]));
    copied = true;
  }
  return copied;
}

}  // namespace peri::cudagraph
