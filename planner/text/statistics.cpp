// What a plan costs, as numbers under stable names (see SYSTEMS.md).
#include <algorithm>
#include <climits>

#include "planner/lines.hpp"

namespace peri::planner {
namespace {

bool is_value(const Buffer& buffer) {
  return buffer.index < 0;
}  // not the caller's

// The most bytes that a plan's storages hold at once. Comm storage is persistent; the rest counts from its
// allocation to its free.
double peak_bytes(const Plan& plan, double comm_pool_bytes) {
  Bytes held, peak;
  auto regular = [&](BufferId id) {
    return plan.buffer(id).kind == BufferKind::comm ? Bytes() : plan.buffer(id).bytes();
  };
  for (const PlanLine& plan_line : plan.lines) {
    const LineEffects line = effects(plan_line.line);
    for (BufferId id : line.gives) held += regular(id);
    if (!line.reads.empty() || !line.writes.empty()) peak = std::max(peak, held);
    for (BufferId id : line.frees) held -= regular(id);
  }
  return static_cast<double>(peak.count()) + comm_pool_bytes;
}

// The most bytes of values that are alive at one line, from the line that writes them to the last that reads
// them: no allocator can do with less. A value made in the storage of a dying operand counts from the next
// line.
double lower_bound_bytes(const Plan& plan) {
  Store<BufferId, int> first(plan.buffers.size(), INT_MAX), last(plan.buffers.size(), -1);
  const int lines = static_cast<int>(plan.lines.size());
  for (int i = 0; i < lines; ++i) {
    auto use = [&](BufferId id) {
      first[id] = std::min(first[id], i);
      last[id] = i;
    };
    const LineEffects line = effects(plan.lines[i].line);
    for (const PlanOperand& operand : line.reads) use(operand.buffer);
    for (const PlanOperand& operand : line.writes) use(operand.buffer);
  }
  for (const PlanOutput& output : plan.outputs) last[output.value.buffer] = lines;
  for (const PlanLine& line : plan.lines)
    if (const auto* reuse = std::get_if<ReuseLine>(&line.line);
        reuse && last[reuse->from] == first[reuse->buffer])
      ++first[reuse->buffer];
  std::vector<Bytes> change(plan.lines.size() + 3);
  for (BufferId id : plan.buffers.ids()) {
    if (!is_value(plan.buffer(id)) || last[id] < first[id]) continue;
    change[first[id]] += plan.buffer(id).bytes();
    change[last[id] + 1] -= plan.buffer(id).bytes();
  }
  Bytes alive, peak;
  for (Bytes bytes : change) peak = std::max(peak, alive += bytes);
  return static_cast<double>(peak.count());
}

}  // namespace

std::map<std::string, double> statistics(const Plan& plan) {
  std::map<std::string, double> stats;
  for (const char* name :
       {"buffer_names", "reuses", "device_allocs", "p2p_allocs", "out_variant_calls", "intermediate_buffers",
        "identity_copies", "input_copies", "comm_pool_bytes", "barriers", "elided_barriers", "kernels"})
    stats[name] = 0;
  for (const Buffer& buffer : plan.buffers) stats["buffer_names"] += is_value(buffer);
  for (const PlanLine& plan_line : plan.lines)
    std::visit(
        Overloaded{[&](const AllocateLine& l) {
                     const Buffer& buffer = plan.buffer(l.buffer);
                     const bool comm = buffer.kind == BufferKind::comm;
                     stats["p2p_allocs"] += comm;
                     stats["device_allocs"] += !comm && buffer.type.place == Place::device;
                     stats["comm_pool_bytes"] += comm ? static_cast<double>(buffer.bytes().count()) : 0;
                     ++stats["intermediate_buffers"];
                   },
                   [&](const ReuseLine&) { ++stats["reuses"]; }, [](const FreeLine&) {},
                   [&](const InputCopyLine&) { ++stats["input_copies"]; }, [](const DeviceCopyLine&) {},
                   [&](const KernelLine& l) {
                     ++stats["kernels"];
                     ++stats["out_variant_calls"];
                     stats["identity_copies"] += l.identity_copy;
                   },
                   [&](const CollectiveLine& l) {
                     const bool may_end = l.spec.algorithm->end_barrier;
                     stats["buffer_names"] += l.is_fallback();  // its result has a name besides its item's
                     stats["intermediate_buffers"] += l.is_fallback();
                     stats["out_variant_calls"] += !l.is_fallback() && !l.outputs.empty();
                     stats["barriers"] += may_end && l.spec.end_barrier;
                     stats["elided_barriers"] += may_end && !l.spec.end_barrier;
                     if (!l.spec.epilogue.empty()) ++stats["epilogues"];  // a figure of plans that have any
                   }},
        plan_line.line);
  stats["peak_bytes"] = peak_bytes(plan, stats["comm_pool_bytes"]);
  stats["lower_bound_bytes"] = lower_bound_bytes(plan);
  return stats;
}

}  // namespace peri::planner
