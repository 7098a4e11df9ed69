// Cuts a plan into runs that are captured as one graph and runs that are not, and works out each run's
// signature.
#include "cudagraph/partition.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace peri {
namespace {

template <class... Ts>
struct Overload : Ts... {
  using Ts::operator()...;
};

struct Access {
  std::vector<BufferId> reads, writes;
};

Access access_of(const Line& line) {
  return std::visit(Overload{
                        [](const AllocateLine&) { return Access{}; },
                        [](const ReuseLine&) { return Access{}; },
                        [](const FreeLine&) { return Access{}; },
                        [](const InputCopyLine& l) { return Access{{l.input}, {l.buffer}}; },
                        [](const KernelLine& l) {
                          Access a;
                          for (const PlanOperand& o : l.inputs) a.reads.push_back(o.buffer);
                          for (const PlanOperand& o : l.outputs) a.writes.push_back(o.buffer);
                          return a;
                        },
                        [](const CollectiveLine& l) { return Access{{l.input.buffer}, {l.output.buffer}}; },
                        [](const DeviceCopyLine& l) { return Access{{l.from.buffer}, {l.to.buffer}}; },
                    },
                    line);
}

// Memory bookkeeping belongs to whichever run it stands in: it is never a reason to cut.
bool is_bookkeeping(const Line& line) {
  return std::holds_alternative<AllocateLine>(line) || std::holds_alternative<ReuseLine>(line) ||
         std::holds_alternative<FreeLine>(line);
}

std::string reason_not_captured(const Plan& plan, int line) {
  if (std::holds_alternative<DeviceCopyLine>(plan.lines[static_cast<size_t>(line)])) return "device copy";
  return plan.policy.capture ? "split by the policy" : "capture is off in the policy";
}

std::vector<Partition> cut(const Plan& plan) {
  std::vector<Partition> parts;
  const int n = static_cast<int>(plan.lines.size());
  for (int i = 0; i < n; ++i) {
    if (is_bookkeeping(plan.lines[static_cast<size_t>(i)])) continue;
    const bool captured = plan.policy.capture && plan.captured[static_cast<size_t>(i)];
    if (!parts.empty() && parts.back().captured == captured) continue;
    // Bookkeeping in front of a verdict's first real line goes with it.
    int first = i;
    while (first > 0 && is_bookkeeping(plan.lines[static_cast<size_t>(first - 1)])) --first;
    if (parts.empty()) first = 0;
    if (!parts.empty()) parts.back().last = first;
    parts.push_back({first, n, captured, captured ? "" : reason_not_captured(plan, i), {}});
  }
  if (parts.empty() && n > 0) parts.push_back({0, n, true, "", {}});
  return parts;
}

void sign(std::vector<Partition>& parts, const Plan& plan) {
  const size_t count = plan.buffers.size();
  std::vector<int> last_read(count, -1);
  for (size_t i = 0; i < plan.lines.size(); ++i)
    for (BufferId b : access_of(plan.lines[i]).reads)
      last_read[static_cast<size_t>(b.index)] = static_cast<int>(i);
  for (const PlanOutput& o : plan.outputs)
    last_read[static_cast<size_t>(o.value.buffer.index)] = static_cast<int>(plan.lines.size());

  for (Partition& part : parts) {
    std::set<BufferId> reads, writes;
    for (int i = part.first; i < part.last; ++i) {
      Access a = access_of(plan.lines[static_cast<size_t>(i)]);
      for (BufferId b : a.reads)
        if (!writes.contains(b)) reads.insert(b);
      writes.insert(a.writes.begin(), a.writes.end());
    }
    for (BufferId b : reads)
      (plan.buffer(b).kind == BufferKind::constant ? part.signature.constants : part.signature.input_buffers)
          .push_back(b);
    for (BufferId b : writes)
      if (last_read[static_cast<size_t>(b.index)] >= part.last || plan.buffer(b).kind == BufferKind::input)
        part.signature.output_buffers.push_back(b);
  }
}

// S5: what an uncaptured run would allocate on every call is allocated by the captured run before it, once.
void hoist(std::vector<Partition>& parts, const Plan& plan) {
  Partition* captured_before = nullptr;
  for (Partition& part : parts) {
    if (part.captured) {
      captured_before = &part;
      continue;
    }
    if (!captured_before) continue;
    for (int i = part.first; i < part.last; ++i)
      if (const auto* a = std::get_if<AllocateLine>(&plan.lines[static_cast<size_t>(i)]))
        if (plan.buffer(a->buffer).kind == BufferKind::regular)
          captured_before->signature.hoisted_allocations.push_back(a->buffer);
  }
}

std::string names(const std::vector<BufferId>& ids, const Plan& plan) {
  std::string text;
  for (BufferId id : ids) text += (text.empty() ? "" : ", ") + plan.buffer(id).name;
  return text.empty() ? "-" : text;
}

}  // namespace

std::vector<Partition> partition(const Plan& plan) {
  std::vector<Partition> parts = cut(plan);
  sign(parts, plan);
  hoist(parts, plan);
  return parts;
}

std::string print(const std::vector<Partition>& partitions, const Plan& plan) {
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

}  // namespace peri
