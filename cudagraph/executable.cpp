// What is called: resolves a plan's buffers to storage, records captured partitions once per set of
// addresses, and replays.
//
// Addresses: everything the plan allocates keeps its address for the executable's life. An output that the
// caller still holds when the next call begins has its contents moved to a block of its own (the holder's
// tensor follows), so outputs are never overwritten under anybody. An ordinary input whose address keeps
// changing is copied into a block of the executable's; a symmetric or a mutated one cannot be, so recordings
// for its recent addresses are kept. A captured tensor may move too (it may be another executable's output),
// so its address is part of what a recording is valid for.
#include "cudagraph/executable.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <set>

#include "planner/lines.hpp"

namespace peri::cudagraph {
namespace {

constexpr size_t kRecordingsKept = 4;
constexpr int kMissesBeforeCopying = 2;

struct Slot {
  std::shared_ptr<kernels::Storage> storage;
  int64_t offset_bytes = 0;  // where an input's or constant's tensor starts in its storage
  int64_t bytes = 0;
  Place place = Place::device;
  bool per_call = false;  // allocated and released by the lines of an uncaptured partition
  bool recorded = false;  // recordings hold its address, or it was hoisted: it stays where it is
};

struct InputState {
  bool mutated = false;
  bool pinned = false;  // symmetric or mutated: must be used where it is
  int misses = 0;
  std::shared_ptr<kernels::Storage> own;  // once copied instead of followed
};

// Where a recording finds an input or constant. For symmetric memory the address is not enough: a new block
// that happens to lie where a freed one was is another block to its peers.
struct Source {
  const std::byte* data = nullptr;  // nullptr if no recording holds it
  std::weak_ptr<kernels::Storage> symmetric;
  bool operator==(const Source& other) const {
    return data == other.data && !symmetric.owner_before(other.symmetric) &&
           !other.symmetric.owner_before(symmetric);
  }
};

struct RecordedCall {
  std::vector<Source> sources;                                  // inputs, then constants
  std::vector<std::unique_ptr<kernels::Recording>> partitions;  // nullptr where not captured
};

// The bytes of its storage that a window spans: [first, last).
std::pair<int64_t, int64_t> extent(const kernels::Tensor& t) {
  if (numel(t.view.shape) == 0) return {0, 0};
  int64_t low = t.view.offset, high = low;
  for (int i = 0; i < t.view.shape.rank(); ++i) {
    const int64_t span = (t.view.shape[i] - 1) * t.view.strides[i];
    (span < 0 ? low : high) += span;
  }
  const int64_t size = size_of(t.type.dtype);
  return {low * size, (high + 1) * size};
}

bool overlap(const kernels::Tensor& a, const kernels::Tensor& b) {
  if (a.storage != b.storage) return false;
  const auto [a_first, a_last] = extent(a);
  const auto [b_first, b_last] = extent(b);
  return a_first < b_last && b_first < a_last;
}

}  // namespace

struct Executable::Impl {
  planner::Plan plan;
  kernels::Backend& backend;
  std::vector<kernels::Tensor> constants;
  std::vector<Partition> partitions;
  std::vector<Slot> slots;
  std::vector<int> slot_of;  // by buffer; -1: none
  std::vector<InputState> input_states;
  std::list<RecordedCall> recorded;  // most recently used first
  int64_t recordings = 0, replays = 0;

  Impl(planner::Plan p, kernels::Backend& b, std::vector<kernels::Tensor> c)
      : plan(std::move(p)), backend(b), constants(std::move(c)) {}

  Slot& slot(BufferId id) { return slots[static_cast<size_t>(slot_of[planner::at(id)])]; }

  int add_slot(BufferId id) {
    const planner::Buffer& buffer = plan.buffer(id);
    slots.push_back({nullptr, 0, buffer.bytes(), buffer.type.place});
    return slot_of[planner::at(id)] = static_cast<int>(slots.size()) - 1;
  }

  Status allocate(Slot& s, const planner::Buffer& buffer) {
    if (buffer.kind == planner::BufferKind::comm)
      s.storage = PERI_TRY(backend.allocate_symmetric(s.bytes, buffer.group));
    else
      s.storage = PERI_TRY(backend.allocate(s.bytes, s.place));
    return {};
  }

  // One slot per allocation, input, constant and fallback output; a reused buffer shares its predecessor's.
  Status assign_slots() {
    slot_of.assign(plan.buffers.size(), -1);
    for (BufferId id : plan.inputs) add_slot(id);
    for (size_t i = 0; i < plan.constants.size(); ++i) {
      Slot& s = slots[static_cast<size_t>(add_slot(plan.constants[i]))];
      if (!constants[i].view.is_contiguous()) continue;  // gets a block of its own, filled by every call
      s.storage = constants[i].storage;
      s.offset_bytes = constants[i].view.offset * size_of(constants[i].type.dtype);
    }
    for (const planner::PlanLine& line : plan.lines) {
      if (const auto* reuse = std::get_if<planner::ReuseLine>(&line.line))
        slot_of[planner::at(reuse->buffer)] = slot_of[planner::at(reuse->from)];
      else
        for (BufferId id : effects(line.line).gives) add_slot(id);
    }
    mark_slots();
    for (size_t i = 0; i < plan.buffers.size(); ++i) {
      const int index = slot_of[i];
      if (index < 0) continue;
      Slot& s = slots[static_cast<size_t>(index)];
      const planner::BufferKind kind = plan.buffers[i].kind;
      if (s.storage || s.per_call || kind == planner::BufferKind::input) continue;
      PERI_TRY(allocate(s, plan.buffers[i]));
    }
    return {};
  }

  // Only what lives entirely inside uncaptured partitions and was not hoisted is allocated per call: a
  // recording must never hold an address that changes.
  void mark_slots() {
    for (const Partition& part : partitions) {
      for (int i = part.first; i < part.last; ++i) {
        const planner::Line& line = plan.lines[static_cast<size_t>(i)].line;
        const auto* a = std::get_if<planner::AllocateLine>(&line);
        if (a && !part.captured && plan.buffer(a->buffer).kind == planner::BufferKind::regular)
          slot(a->buffer).per_call = true;
        if (!part.captured) continue;
        const planner::LineEffects touched = effects(line);
        for (const planner::PlanOperand& o : touched.reads) slot(o.buffer).recorded = true;
        for (const planner::PlanOperand& o : touched.writes) slot(o.buffer).recorded = true;
      }
      for (BufferId id : part.signature.hoisted_allocations) slot(id).recorded = true;
    }
    for (Slot& s : slots) s.per_call = s.per_call && !s.recorded;
  }

  kernels::Operand operand(const planner::PlanOperand& o) {
    Slot& s = slot(o.buffer);
    kernels::Operand result;
    result.data = s.storage->data() + s.offset_bytes + o.type.view.offset * size_of(o.type.dtype);
    result.type = {o.type.dtype, {o.type.view.shape, o.type.view.strides, 0}};
    return result;
  }

  kernels::Operand whole(BufferId id) {
    const planner::Buffer& buffer = plan.buffer(id);
    return operand({id, {buffer.type.dtype, View::contiguous(buffer.type.shape)}});
  }

  Status run_line(const planner::Line& line) {
    if (const auto* a = std::get_if<planner::AllocateLine>(&line)) {
      Slot& s = slot(a->buffer);
      return s.per_call ? allocate(s, plan.buffer(a->buffer)) : Status{};
    }
    if (const auto* f = std::get_if<planner::FreeLine>(&line)) {
      Slot& s = slot(f->buffer);
      if (s.per_call) s.storage.reset();
      return {};
    }
    if (std::holds_alternative<planner::ReuseLine>(line)) return {};
    if (const auto* c = std::get_if<planner::InputCopyLine>(&line))
      return backend.copy(operand(c->from), operand(c->to));
    if (const auto* d = std::get_if<planner::DeviceCopyLine>(&line))
      return backend.copy(operand(d->from), operand(d->to));
    if (const auto* c = std::get_if<planner::CollectiveLine>(&line)) {
      kernels::CollectiveSpec spec{c->op, c->attributes, c->algorithm, c->end_barrier, c->origin};
      return backend.collective(spec, operand(c->input), operand(c->output));
    }
    const auto& k = std::get<planner::KernelLine>(line);
    std::vector<kernels::Operand> inputs, outputs;
    for (const planner::PlanOperand& o : k.inputs) inputs.push_back(operand(o));
    for (const planner::PlanOperand& o : k.outputs) outputs.push_back(operand(o));
    return backend.launch(k.spec, inputs, outputs);
  }

  Status run_lines(const Partition& part) {
    for (int i = part.first; i < part.last; ++i) PERI_TRY(run_line(plan.lines[static_cast<size_t>(i)].line));
    return {};
  }

  Result<RecordedCall*> record(std::vector<Source> sources) {
    RecordedCall call;
    call.sources = std::move(sources);
    bool any = false;
    for (const Partition& part : partitions) {
      call.partitions.push_back(nullptr);
      if (!part.captured) continue;
      any = true;
      PERI_TRY(backend.begin_capture());
      if (Status s = run_lines(part); !s) {
        backend.abandon_capture();
        return std::unexpected(s.error());
      }
      call.partitions.back() = PERI_TRY(backend.end_capture());
    }
    recordings += any;
    recorded.push_front(std::move(call));
    if (recorded.size() > kRecordingsKept) recorded.pop_back();
    return &recorded.front();
  }

  // What is written in place while it is also read under another name has no meaning that all plans share.
  Status check_aliasing(std::span<const kernels::Tensor> inputs) {
    auto refuse = [](std::string subject) {
      return fail(Code::InvalidArgument, std::move(subject) + ", and is written in place", {},
                  "pass a copy (x:contiguous() of a view, or x + 0)");
    };
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!input_states[i].mutated) continue;
      for (size_t k = 0; k < inputs.size(); ++k)
        if (k != i && overlap(inputs[i], inputs[k]))
          return refuse(fmt::format("argument {} shares memory with argument {}", i + 1, k + 1));
      for (const kernels::Tensor& constant : constants)
        if (overlap(inputs[i], constant))
          return refuse(
              fmt::format("argument {} shares memory with a tensor that the function captured", i + 1));
    }
    return {};
  }

  // Points the input slots at the caller's tensors, or at the executable's own copy of those that keep
  // moving.
  Status bind_inputs(std::span<const kernels::Tensor> inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const kernels::Tensor& t = inputs[i];
      Slot& s = slot(plan.inputs[i]);
      InputState& state = input_states[i];
      const bool contiguous = t.view.is_contiguous();
      if (state.pinned && !contiguous)
        return fail(
            Code::InvalidArgument,
            fmt::format("argument {} is written in place or symmetric, but is not contiguous here", i + 1),
            {}, "pass x:contiguous()");
      if (!state.own && contiguous) {
        s.storage = t.storage;
        s.offset_bytes = t.view.offset * size_of(t.type.dtype);
        continue;
      }
      if (!state.own) state.own = PERI_TRY(backend.allocate(t.type.bytes(), t.type.place));
      s.storage = state.own;
      s.offset_bytes = 0;
      PERI_TRY(backend.copy(operand_of(t), whole(plan.inputs[i])));
    }
    return {};
  }

  // A captured tensor that is not contiguous is copied anew: it may have been changed in place since.
  Status refresh_constants() {
    for (size_t i = 0; i < constants.size(); ++i)
      if (!constants[i].view.is_contiguous())
        PERI_TRY(backend.copy(operand_of(constants[i]), whole(plan.constants[i])));
    return {};
  }

  std::vector<Source> sources() {
    std::vector<Source> result;
    for (const std::vector<BufferId>* ids : {&plan.inputs, &plan.constants})
      for (BufferId id : *ids) {
        const Slot& s = slot(id);
        Source& source = result.emplace_back();
        if (!s.recorded) continue;
        source.data = s.storage->data() + s.offset_bytes;
        if (s.storage->is_symmetric()) source.symmetric = s.storage;
      }
    return result;
  }

  // The recording for these addresses: a kept one, or a new one. Inputs that moved are counted, and copied
  // from then on.
  Result<RecordedCall*> recording_for(std::span<const kernels::Tensor> inputs) {
    std::vector<Source> now = sources();
    for (auto it = recorded.begin(); it != recorded.end(); ++it) {
      if (it->sources != now) continue;
      recorded.splice(recorded.begin(), recorded, it);
      return &recorded.front();
    }
    bool start_copying = false;
    for (size_t i = 0; !recorded.empty() && i < inputs.size(); ++i) {
      InputState& state = input_states[i];
      if (state.pinned || state.own || recorded.front().sources[i] == now[i]) continue;
      if (++state.misses < kMissesBeforeCopying) continue;
      state.own = PERI_TRY(backend.allocate(inputs[i].type.bytes(), inputs[i].type.place));
      start_copying = true;
    }
    if (start_copying) {
      recorded.clear();  // none of them reads the new copies
      PERI_TRY(bind_inputs(inputs));
      now = sources();
    }
    return record(std::move(now));
  }

  // Whoever still holds an output of the last call keeps its contents.
  Status release_outputs() {
    std::set<int> seen;
    for (const planner::PlanOutput& o : plan.outputs) {
      const int index = slot_of[static_cast<size_t>(o.value.buffer.index)];
      Slot& s = slots[static_cast<size_t>(index)];
      if (o.mutated_input >= 0 || s.per_call || !seen.insert(index).second || s.storage.use_count() == 1)
        continue;
      std::shared_ptr<kernels::Storage> moved = PERI_TRY(backend.allocate(s.bytes, s.place));
      const TensorType bytes{DType::u8, {s.bytes}, s.place};
      const OperandType type{DType::u8, View::contiguous(bytes.shape)};
      PERI_TRY(backend.copy({s.storage->data(), type}, {moved->data(), type}));
      s.storage->exchange_memory(*moved);
      s.storage = std::move(moved);
    }
    return {};
  }

  Result<std::vector<kernels::Tensor>> call(std::span<const kernels::Tensor> inputs) {
    PERI_TRY(check_aliasing(inputs));
    PERI_TRY(release_outputs());
    Status done = run(inputs);
    for (BufferId id : plan.inputs) slot(id).storage.reset();  // inputs belong to the caller again
    PERI_TRY(std::move(done));
    return outputs();
  }

  Status run(std::span<const kernels::Tensor> inputs) {
    PERI_TRY(bind_inputs(inputs));
    PERI_TRY(refresh_constants());
    const RecordedCall* recording = PERI_TRY(recording_for(inputs));
    for (size_t i = 0; i < partitions.size(); ++i) {
      if (recording->partitions[i])
        PERI_TRY(backend.replay(*recording->partitions[i]));
      else
        PERI_TRY(run_lines(partitions[i]));
    }
    ++replays;
    return {};
  }

  std::vector<kernels::Tensor> outputs() {
    std::vector<kernels::Tensor> result;
    for (const planner::PlanOutput& o : plan.outputs) {
      if (o.mutated_input >= 0) continue;
      const OperandType& type = o.value.type;
      Slot& s = slot(o.value.buffer);
      result.push_back(
          {s.per_call ? std::move(s.storage) : s.storage, {type.dtype, type.view.shape, s.place}, type.view});
    }
    return result;
  }
};

Executable::Executable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Executable::~Executable() = default;

Result<std::unique_ptr<Executable>> Executable::create(planner::Plan plan, kernels::Backend& backend,
                                                       std::vector<kernels::Tensor> constants) {
  auto impl = std::make_unique<Impl>(std::move(plan), backend, std::move(constants));
  impl->partitions = partition(impl->plan);
  impl->input_states.resize(impl->plan.inputs.size());
  for (const planner::PlanOutput& o : impl->plan.outputs)
    if (o.mutated_input >= 0) impl->input_states[static_cast<size_t>(o.mutated_input)].mutated = true;
  for (size_t i = 0; i < impl->plan.inputs.size(); ++i) {
    InputState& state = impl->input_states[i];
    state.pinned = state.mutated || impl->plan.buffer(impl->plan.inputs[i]).is_symmetric();
  }
  PERI_TRY(impl->assign_slots());
  return std::unique_ptr<Executable>(new Executable(std::move(impl)));
}

Result<std::vector<kernels::Tensor>> Executable::call(std::span<const kernels::Tensor> inputs) {
  PERI_CHECK(inputs.size() == impl_->plan.inputs.size(), "the caller's cache matches inputs to plans");
  return impl_->call(inputs);
}

const planner::Plan& Executable::plan() const {
  return impl_->plan;
}
const std::vector<Partition>& Executable::partitions() const {
  return impl_->partitions;
}

const std::byte* Executable::address(BufferId buffer) const {
  const planner::Buffer& b = impl_->plan.buffer(buffer);
  if (b.kind == planner::BufferKind::input)
    return impl_->recorded.empty() ? nullptr
                                   : impl_->recorded.front().sources[static_cast<size_t>(b.index)].data;
  const int index = impl_->slot_of[planner::at(buffer)];
  if (index < 0 || !impl_->slots[static_cast<size_t>(index)].storage) return nullptr;
  const Slot& s = impl_->slots[static_cast<size_t>(index)];
  return s.storage->data() + s.offset_bytes;
}

std::map<std::string, double> Executable::statistics() const {
  std::map<std::string, double> result = planner::statistics(impl_->plan);
  double captured = 0, hoisted = 0;
  for (const Partition& p : impl_->partitions) {
    captured += p.captured ? 1 : 0;
    hoisted += static_cast<double>(p.signature.hoisted_allocations.size());
  }
  result["partitions"] = static_cast<double>(impl_->partitions.size());
  result["captured_partitions"] = captured;
  result["hoisted_allocs"] = hoisted;
  result["recordings"] = static_cast<double>(impl_->recordings);
  result["replays"] = static_cast<double>(impl_->replays);
  return result;
}

}  // namespace peri::cudagraph
