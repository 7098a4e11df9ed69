// Cuts a plan into runs that are captured as one graph and runs that are not, and works out each run's
// signature.
#include "cudagraph/partition.hpp"

#include <fmt/format.h>

#include <set>

#include "planner/lines.hpp"

namespace peri::cudagraph {
namespace {

// Memory bookkeeping belongs to whichever run it stands in: it is never a reason to cut.
bool is_bookkeeping(const planner::Line& line) {
  const planner::LineEffects touched = effects(line);
  return touched.reads.empty() && touched.writes.empty();
}

bool gives_storage(const planner::Line& line) {
  return is_bookkeeping(line) && !effects(line).gives.empty();
}

std::string reason_not_captured(const planner::Plan& plan, int line) {
  if (std::holds_alternative<planner::DeviceCopyLine>(plan.lines[line].line)) return "device copy";
  return plan.capture ? "split by the policy" : "capture is off in the policy";
}

std::vector<Partition> cut(const planner::Plan& plan) {
  std::vector<Partition> parts;
  const int n = static_cast<int>(plan.lines.size());
  for (int i = 0; i < n; ++i) {
    const planner::PlanLine& line = plan.lines[i];
    if (is_bookkeeping(line.line)) continue;
    const bool captured = plan.capture && line.captured;
    if (!parts.empty() && parts.back().captured == captured) continue;
    // What is allocated for a verdict's first real line goes with it; what is freed after the last one stays.
    int first = i;
    while (first > 0 && gives_storage(plan.lines[first - 1].line)) --first;
    if (parts.empty()) first = 0;
    if (!parts.empty()) parts.back().last = first;
    parts.push_back({first, n, captured, captured ? "" : reason_not_captured(plan, i), {}});
  }
  if (parts.empty() && n > 0) parts.push_back({0, n, true, "", {}});
  return parts;
}

void sign(std::vector<Partition>& parts, const planner::Plan& plan) {
  Store<BufferId, int> last_read(plan.buffers.size(), -1);
  for (size_t i = 0; i < plan.lines.size(); ++i)
    for (const planner::PlanOperand& o : effects(plan.lines[i].line).reads)
      last_read[o.buffer] = static_cast<int>(i);
  for (const planner::PlanOutput& o : plan.outputs)
    last_read[o.value.buffer] = static_cast<int>(plan.lines.size());

  for (Partition& part : parts) {
    std::set<BufferId> reads, writes;
    for (int i = part.first; i < part.last; ++i) {
      const planner::LineEffects line = effects(plan.lines[i].line);
      for (const planner::PlanOperand& o : line.reads)
        if (!writes.contains(o.buffer)) reads.insert(o.buffer);
      for (const planner::PlanOperand& o : line.writes) writes.insert(o.buffer);
    }
    for (BufferId b : reads)
      (plan.buffer(b).kind == planner::BufferKind::constant ? part.signature.constants
                                                            : part.signature.input_buffers)
          .push_back(b);
    for (BufferId b : writes)
      if (last_read[b] >= part.last || plan.buffer(b).kind == planner::BufferKind::input)
        part.signature.output_buffers.push_back(b);
  }
}

// S5: what an uncaptured run would allocate on every call is allocated by the captured run before it, once.
void hoist(std::vector<Partition>& parts, const planner::Plan& plan) {
  Partition* captured_before = nullptr;
  for (Partition& part : parts) {
    if (part.captured) {
      captured_before = &part;
      continue;
    }
    if (!captured_before) continue;
    for (int i = part.first; i < part.last; ++i)
      if (const auto* a = std::get_if<planner::AllocateLine>(&plan.lines[i].line))
        if (plan.buffer(a->buffer).kind == planner::BufferKind::regular)
          captured_before->signature.hoisted_allocations.push_back(a->buffer);
  }
}

std::string names(const std::vector<BufferId>& ids, const planner::Plan& plan) {
  std::string text;
  for (BufferId id : ids) text += (text.empty() ? "" : ", ") + plan.buffer(id).name;
  return text.empty() ? "-" : text;
}

}  // namespace

std::vector<Partition> partition(const planner::Plan& plan) {
  std::vector<Partition> parts = cut(plan);
  sign(parts, plan);
  hoist(parts, plan);
  return parts;
}

std::string print(const std::vector<Partition>& partitions, const planner::Plan& plan) {
  std::string text;
  for (size_t i = 0; i < partitions.size(); ++i) {
    const Partition& p = partitions[i];
    text += fmt::format(
        "partition {}: {} lines, {}{}\n  inputs:    {}\n  constants: {}\n  outputs:   {}\n  hoisted:   {}\n",
        i, p.last - p.first, p.captured ? "captured" : "not captured: ", p.reason,
        names(p.signature.input_buffers, plan), names(p.signature.constants, plan),
        names(p.signature.output_buffers, plan), names(p.signature.hoisted_allocations, plan));
  }
  return text;
}

}  // namespace peri::cudagraph
