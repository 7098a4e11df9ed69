// What must hold of a plan's tables before a line of it is looked at: a plan may come from any text.
#include <set>

#include <fmt/format.h>

#include "planner/check/call.hpp"
#include "planner/check/machine.hpp"

namespace peri::planner::check {
namespace {

std::string wrong_buffer(const Plan& plan, const Buffer& b) {
  if (!checked_numel(b.type.shape)) return "has no size";
  if (!plan.pools.contains(b.pool)) return "lies in no pool";
  const Pool& pool = plan.pools[b.pool];
  if (pool.kind != b.kind || pool.place != b.type.place || pool.group != b.group)
    return "lies in a pool of another kind";
  if (b.offset < Bytes() || b.bytes() > pool.bytes || b.offset > pool.bytes - b.bytes())
    return "reaches outside its pool";
  const bool may_be_symmetric = b.kind == BufferKind::input || b.kind == BufferKind::comm;
  if (b.is_symmetric() ? !may_be_symmetric : b.kind == BufferKind::comm) return "is of a kind without group";
  return b.is_symmetric() ? wrong_group(b.group, plan.world) : "";
}

std::string wrong_sources(const Plan& plan, const std::vector<BufferId>& sources, BufferKind kind) {
  for (size_t i = 0; i < sources.size(); ++i) {
    if (!plan.buffers.contains(sources[i])) return "names a buffer that is not in the table";
    const Buffer& buffer = plan.buffer(sources[i]);
    if (buffer.kind != kind || buffer.index != static_cast<int>(i))
      return fmt::format("{}: is an input or constant of another number", buffer.name);
  }
  return {};
}

}  // namespace

std::string wrong_group(const Group& group, const World& world) {
  std::set<int> members;
  for (int rank : group.ranks)
    if (rank < 0 || rank >= world.size || !members.insert(rank).second)
      return fmt::format("group {} is not of ranks of a world of {}", group.to_string(), world.size);
  return {};
}

std::string wrong_tables(const Plan& plan) {
  if (plan.world.rank < 0 || plan.world.rank >= plan.world.size)
    return fmt::format("rank {} is not in a world of {}", plan.world.rank, plan.world.size);
  std::set<std::string_view> names;
  for (const Buffer& buffer : plan.buffers) {
    if (!names.insert(buffer.name).second) return buffer.name + ": two buffers have this name";
    if (const std::string wrong = wrong_buffer(plan, buffer); !wrong.empty())
      return buffer.name + ": " + wrong;
  }
  for (const std::string& wrong : {wrong_sources(plan, plan.inputs, BufferKind::input),
                                   wrong_sources(plan, plan.constants, BufferKind::constant)})
    if (!wrong.empty()) return wrong;
  for (size_t i = 0; i < plan.lines.size(); ++i)
    for (BufferId id : buffers_of(plan.lines[i].line))
      if (!plan.buffers.contains(id))
        return fmt::format("line {} names a buffer that is not in the table", i + 1);
  for (const PlanLine& line : plan.lines)
    if (const auto* call = std::get_if<CollectiveLine>(&line.line);
        call && !call->call_name.empty() && !names.insert(call->call_name).second)
      return call->call_name + ": two buffers have this name";
  for (const PlanOutput& output : plan.outputs)
    if (!plan.buffers.contains(output.value.buffer))
      return "an output names a buffer that is not in the table";
  return {};
}

}  // namespace peri::planner::check
