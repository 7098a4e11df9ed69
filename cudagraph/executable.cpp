// What is called: a call takes a set of outputs, binds its inputs, and replays the recording for both, or
// makes one. Partitions that are not captured run line by line.
#include "cudagraph/executable.hpp"

#include <fmt/format.h>

#include "core/ops/positions.hpp"
#include "planner/lines.hpp"

namespace peri::cudagraph {
namespace {

// How many calls the recordings of all partitions hold.
int64_t captured_calls(const planner::Plan& plan, const std::vector<Partition>& partitions) {
  int64_t calls = 0;
  for (const Partition& part : partitions)
    for (int i = part.first; part.captured && i < part.last; ++i)
      calls += origin_of(plan.lines[i].line) != nullptr;
  return calls;
}

}  // namespace

Executable::Executable(planner::Plan plan, SharedMemory& memory, std::vector<kernels::Tensor> constants)
    : plan_(std::move(plan)),
      backend_(memory.backend()),
      partitions_(partition(plan_)),
      storage_(plan_, partitions_, memory),
      inputs_(plan_, storage_, backend_, std::move(constants)),
      outputs_(plan_, storage_, backend_, captured_calls(plan_, partitions_)) {}

Result<std::unique_ptr<Executable>> Executable::create(planner::Plan plan, SharedMemory& memory,
                                                       std::vector<kernels::Tensor> constants) {
  std::unique_ptr<Executable> made(new Executable(std::move(plan), memory, std::move(constants)));
  PERI_TRY(made->storage_.allocate());
  PERI_TRY(made->outputs_.allocate());
  return made;
}

Result<std::vector<kernels::Tensor>> Executable::call(std::span<const kernels::Tensor> inputs) {
  std::vector<const kernels::Tensor*> pointers;
  for (const kernels::Tensor& t : inputs) pointers.push_back(&t);
  return call(pointers);
}

// Outputs come first: taking them may move the memory of a tensor that is an input here.
Result<std::vector<kernels::Tensor>> Executable::call(InputTensors inputs) {
  PERI_CHECK(inputs.size() == plan_.inputs.size(), "the caller's cache matches inputs to plans");
  PERI_TRY(inputs_.check_aliasing(inputs));
  if (storage_.is_outdated() && PERI_TRY(storage_.bind_shared())) recordings_.clear();
  PERI_TRY(outputs_.choose());
  PERI_TRY(inputs_.bind(inputs));
  PERI_TRY(run(inputs));
  return outputs_.take();
}

// Where recordings do not follow blocks, they hold the addresses of what is given up.
void Executable::release() {
  outputs_.release();
  inputs_.release();
  if (!backend_.follows_blocks()) recordings_.clear();
}

Status Executable::run(InputTensors inputs) {
  const RecordedCall* recording = PERI_TRY(recording_for(inputs));
  for (size_t i = 0; i < partitions_.size(); ++i) {
    kernels::Recording* captured = recording->partitions[i].get();
    if (captured && !storage_.blocks().empty()) captured->move(storage_.blocks());
    PERI_TRY(captured ? backend_.replay(*captured) : run_lines(partitions_[i]));
  }
  ++calls_;
  return {};
}

Result<const RecordedCall*> Executable::recording_for(InputTensors inputs) {
  if (generation_ != backend_.generation()) {  // recordings do not outlive a recovery of the job
    recordings_.clear();
    generation_ = backend_.generation();
  }
  const size_t outputs = outputs_.recordings();
  if (const RecordedCall* known = recordings_.find(outputs, inputs_.sources())) return known;
  if (PERI_TRY(inputs_.copy_moving(inputs, recordings_.last(), recordings_.is_full(outputs))))
    if (const RecordedCall* known = recordings_.find(outputs, inputs_.sources())) return known;
  return recordings_.keep(outputs, PERI_TRY(record()));
}

Result<RecordedCall> Executable::record() {
  RecordedCall call;
  call.sources.assign(inputs_.sources().begin(), inputs_.sources().end());
  bool any = false;
  for (const Partition& part : partitions_) {
    call.partitions.push_back(nullptr);
    if (!part.captured) continue;
    any = true;
    std::vector<kernels::ProgramStep> steps;
    for (const planner::PlanLine& line : lines_of(part))
      if (auto step = step_of(line.line)) steps.push_back(std::move(*step));
    call.partitions.back() = PERI_TRY(backend_.prepare(steps, kernels::Marks::none));
  }
  recorded_ += any;
  return call;
}

Status Executable::run_lines(const Partition& part) {
  for (const planner::PlanLine& line : lines_of(part)) PERI_TRY(run_line(line.line));
  return {};
}

Status Executable::run_line(const planner::Line& line) {
  if (const auto* a = std::get_if<planner::AllocateLine>(&line)) return storage_.begin(a->buffer);
  if (const auto* f = std::get_if<planner::FreeLine>(&line)) storage_.end(f->buffer);
  const auto* kernel = std::get_if<planner::KernelLine>(&line);
  if (kernel && checks_positions_) PERI_TRY(check_positions(*kernel));
  const std::optional<kernels::ProgramStep> step = step_of(line);
  if (!step) return {};
  return std::visit(
      Overloaded{
          [&](const kernels::KernelStep& s) { return backend_.launch(s.spec, s.inputs, s.outputs); },
          [&](const kernels::CollectiveStep& s) { return backend_.collective(s.spec, s.inputs, s.outputs); },
          [&](const kernels::CopyStep& s) { return backend_.copy(s.from, s.to); }},
      *step);
}

Status Executable::check_positions(const planner::KernelLine& line) const {
  if (line.spec.is_fused()) return {};
  const std::optional<Positions> positions =
      positions_of(line.spec.op, line.spec.attributes, line.inputs.size());
  if (!positions) return {};
  const planner::PlanOperand& given = line.inputs[positions->operand];
  const TensorType type{given.type.dtype, given.type.view.shape, Place::host};
  const auto copy = PERI_TRY(backend_.allocate(type.bytes(), Place::host));
  PERI_TRY(
      backend_.copy(storage_.operand(given), {copy->data(), {type.dtype, View::contiguous(type.shape)}}));
  PERI_TRY(backend_.synchronize());
  const int64_t size = line.inputs[positions->of].type.view.shape[positions->dim];
  Status checked = peri::check_positions(*positions, copy->data(), type, size);
  if (checked) return {};
  checked.error().message = fmt::format("{}: {}", line.spec.name(), checked.error().message);
  checked.error().where = line.origin;
  return checked;
}

// What a line asks of the backend; nothing if it is about storage.
std::optional<kernels::ProgramStep> Executable::step_of(const planner::Line& line) const {
  using MaybeStep = std::optional<kernels::ProgramStep>;
  auto operands = [&](const std::vector<planner::PlanOperand>& windows) {
    std::vector<kernels::Operand> result;
    for (const planner::PlanOperand& o : windows) result.push_back(storage_.operand(o));
    return result;
  };
  auto copy = [&](const auto& l) -> MaybeStep {
    return kernels::CopyStep{storage_.operand(l.from), storage_.operand(l.to), l.origin};
  };
  return std::visit(
      Overloaded{[](const planner::AllocateLine&) -> MaybeStep { return {}; },
                 [](const planner::FreeLine&) -> MaybeStep { return {}; },
                 [](const planner::ReuseLine&) -> MaybeStep { return {}; },
                 [&](const planner::InputCopyLine& l) { return copy(l); },
                 [&](const planner::DeviceCopyLine& l) { return copy(l); },
                 [&](const planner::CollectiveLine& l) -> MaybeStep {
                   return kernels::CollectiveStep{l.spec, operands(l.inputs), operands(l.outputs)};
                 },
                 [&](const planner::KernelLine& l) -> MaybeStep {
                   return kernels::KernelStep{l.spec, operands(l.inputs), operands(l.outputs), l.origin};
                 }},
      line);
}

std::span<const planner::PlanLine> Executable::lines_of(const Partition& part) const {
  return std::span(plan_.lines).subspan(part.first, part.last - part.first);
}

const std::byte* Executable::address(BufferId id) const {
  const planner::Buffer& buffer = plan_.buffer(id);
  if (buffer.kind != planner::BufferKind::input || storage_.is_followed(id)) return storage_.data(id);
  const RecordedCall* last = recordings_.last();
  return last ? last->sources[buffer.index].data : nullptr;
}

std::map<std::string, double> Executable::statistics() const {
  std::map<std::string, double> result = planner::statistics(plan_);
  double captured = 0, hoisted = 0;
  for (const Partition& p : partitions_) {
    captured += p.captured ? 1 : 0;
    hoisted += static_cast<double>(p.signature.hoisted_allocations.size());
  }
  result["partitions"] = static_cast<double>(partitions_.size());
  result["captured_partitions"] = captured;
  result["hoisted_allocs"] = hoisted;
  result["recordings"] = static_cast<double>(recorded_);
  result["replays"] = static_cast<double>(calls_);
  return result;
}

}  // namespace peri::cudagraph
