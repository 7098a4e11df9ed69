// The planner, as a list of passes in the order in which they run: why each is there, and what holds from
// there on.
#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "planner/check/stage.hpp"
#include "planner/passes/passes.hpp"

namespace peri::planner {
namespace {

enum class Pass : uint8_t {
  dead_code,
  common_subexpressions,
  select_algorithms,
  lower,
  fuse,
  fuse_epilogues,
  realize,
  write_in_place,
  memory,
  check,
};
struct PassRow {
  Pass pass;
  const char* name;
  bool optional;  // may be skipped: the plan is then larger or slower, but right
};
constexpr PassRow kPasses[] = {
    {Pass::dead_code, "dead_code", true},
    {Pass::common_subexpressions, "common_subexpressions", true},
    {Pass::select_algorithms, "select_algorithms", false},
    {Pass::lower, "lower", false},
    {Pass::fuse, "fuse", true},
    {Pass::fuse_epilogues, "fuse_epilogues", true},
    {Pass::realize, "realize", false},
    {Pass::write_in_place, "write_in_place", true},
    {Pass::memory, "memory", false},
    {Pass::check, "check", true},
};
const char* name_of(Pass pass) {
  return std::ranges::find(kPasses, pass, &PassRow::pass)->name;
}

Status check_skips(const Policy& policy) {
  for (const std::string& name : policy.skip) {
    auto row = std::ranges::find_if(kPasses, [&](const PassRow& pass) { return pass.name == name; });
    if (row == std::end(kPasses)) {
      const auto near = nearest(name, pass_names());
      return fail(Code::NotFound, fmt::format("no pass is named \"{}\"", name), {},
                  near ? fmt::format("did you mean \"{}\"?", *near)
                       : fmt::format("there are: {}", fmt::join(pass_names(), ", ")));
    }
    if (!row->optional)
      return fail(Code::InvalidArgument,
                  fmt::format("pass \"{}\" cannot be skipped: later passes need what it makes", name), {},
                  row->pass == Pass::select_algorithms
                      ? "a policy's auto_select = false leaves the choice at ll"
                      : "");
  }
  return {};
}

// "3 x in the program, also at model.lua:7".
std::string describe(const Graph& graph, const Repeated& repeated) {
  constexpr size_t kShown = 3;
  std::vector<std::string> others;
  for (const Origin& origin : repeated.again)
    if (origin.known() && origin != graph.node(repeated.node).origin &&
        std::ranges::find(others, origin.to_string()) == others.end())
      others.push_back(origin.to_string());
  std::string text = fmt::format("{} x in the program", repeated.again.size() + 1);
  if (others.empty()) return text;
  const size_t shown = std::min(others.size(), kShown);
  text += fmt::format(", also at {}", fmt::join(others.begin(), others.begin() + shown, ", "));
  return others.size() > shown ? fmt::format("{} and {} more lines", text, others.size() - shown) : text;
}

std::vector<Decision> decisions_of(const SharedGraph& shared) {
  std::vector<Decision> decisions;
  for (const Repeated& repeated : shared.repeated) {
    const Node& node = shared.graph.node(repeated.node);
    decisions.push_back(
        {decision_subject(node.op, node.origin), "computed once", describe(shared.graph, repeated)});
  }
  return decisions;
}

std::string print(const std::vector<Decision>& decisions) {
  std::string text;
  for (const Decision& decision : decisions)
    text += fmt::format("{}: {} ({})\n", decision.subject, decision.choice, decision.reason);
  return text;
}

}  // namespace

std::vector<std::string> pass_names() {
  std::vector<std::string> names;
  for (const PassRow& pass : kPasses) names.emplace_back(pass.name);
  return names;
}

Result<Plan> plan(const Graph& program, const World& world, const Policy& policy, const Observer& observe) {
  PERI_TRY(check_skips(policy));
  PERI_TRY(verify(program));
  auto runs = [&](Pass pass) { return std::ranges::find(policy.skip, name_of(pass)) == policy.skip.end(); };
  auto show = [&](Pass pass, const auto& result) {
    if (observe) observe(name_of(pass), print(result));
  };
  // A pass that broke the plan is named, not the one that stumbles over it later.
  auto passed = [&](Pass pass, const Plan& result) -> Status {
    show(pass, result);
    return check_stage(result, name_of(pass), pass == Pass::memory ? Buffers::stored : Buffers::virtual_only);
  };

  // A trace holds whatever the script computed. From here on every node serves an output or an effect.
  std::optional<Graph> smaller;  // most programs have no dead code, and a large one takes long to copy
  if (runs(Pass::dead_code) && has_dead_code(program)) smaller = eliminate_dead_code(program);
  const Graph& live = smaller ? *smaller : program;
  show(Pass::dead_code, live);

  // A script may say the same twice. From here on no value is computed twice, except by collectives. Values
  // are what nodes are, so a tensor that is changed in between is another operand.
  std::optional<SharedGraph> shared;
  if (runs(Pass::common_subexpressions)) shared = share_common_subexpressions(live);
  const Graph& graph = shared ? shared->graph : live;
  show(Pass::common_subexpressions, graph);

  // The script says what is wanted, the policy how it is done. From here on every collective has an
  // algorithm, or is known to be the identity.
  Selection selection = PERI_TRY(select_algorithms(graph, policy));
  show(Pass::select_algorithms, selection.decisions);
  if (shared) {
    const std::vector<Decision> once = decisions_of(*shared);
    selection.decisions.insert(selection.decisions.begin(), once.begin(), once.end());
  }

  // The policy's functions are the script's. From here on all of them have been asked.
  Choices choices = PERI_TRY(resolve(graph, std::move(selection), policy));

  // From values to buffers. From here on the program is a list of calls on windows of virtual buffers, each
  // written by one line; views are gone; collectives have contiguous operands; what is returned is the plan's
  // own.
  Plan result = PERI_TRY(lower(graph, std::move(choices), world));
  PERI_TRY(passed(Pass::lower, result));

  // Memory traffic is what pointwise work costs. From here on a call may have several results; values that
  // only one fused call needed have no buffer any more. Before `realize`, so that a fused call can write into
  // symmetric memory.
  if (runs(Pass::fuse)) result = fuse(std::move(result));
  PERI_TRY(passed(Pass::fuse, result));

  // What follows a collective may be done while its result is still in cache. From here on a collective may
  // have further operands, its epilogue's. After `fuse`, so that the program is a whole one; before
  // `realize`, which decides where those operands lie.
  if (policy.epilogues && runs(Pass::fuse_epilogues)) result = fuse_epilogues(std::move(result));
  PERI_TRY(passed(Pass::fuse_epilogues, result));

  // From here on every operand that an algorithm wants in symmetric memory of its group lies there. Buffers
  // may be written twice now: by an algorithm that overwrites its operand.
  result = realize(std::move(result));
  PERI_TRY(passed(Pass::realize, result));

  // A cache that is updated in place should not be copied on every call. After `realize`, because a value
  // that has become a comm buffer cannot also be the caller's tensor.
  if (runs(Pass::write_in_place)) result = write_in_place(std::move(result));
  PERI_TRY(passed(Pass::write_in_place, result));

  // From here on every buffer has storage when it is written, and its final name.
  result = plan_memory(std::move(result), policy.planning);
  PERI_TRY(passed(Pass::memory, result));

  // Nothing that was planned wrong may run. Independent of all of the above.
  if (runs(Pass::check)) PERI_TRY(check_plan(result, graph));
  return result;
}

}  // namespace peri::planner
