// See compiled.hpp.
#include "bindings/session/compiled.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <sstream>

#include "core/hash.hpp"

namespace peri::session {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(std::move(line));
  return lines;
}

size_t first_difference(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const auto end = std::min(a.size(), b.size());
  size_t i = 0;
  while (i < end && a[i] == b[i]) ++i;
  return i;
}

// Why programs differ, perhaps: what the function captures on the group's first and another member.
void show_captured(Error& error, const Group& group, size_t other, const std::vector<std::string>& a,
                   const std::vector<std::string>& b) {
  constexpr int kShown = 4;
  int shown = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()) && shown < kShown; ++i) {
    if (a[i] == b[i]) continue;
    error.context.push_back(fmt::format("captured : {} on rank {}, {} on rank {}", a[i], group.ranks[0], b[i],
                                        group.ranks[other]));
    ++shown;
  }
}

// A difference is an error that names the first differing line on two ranks, not a hang later on. `nth` tells
// one rank's programs apart.
Status agree(kernels::Backend& backend, AgreedPlan& plan, const Agreement& agreement, int64_t nth) {
  const Group& group = agreement.group;
  if (group.size() < 2) {
    plan.number = Hash().mix(group.to_string()).mix(static_cast<uint64_t>(nth)).value();
    plan.dropped = agreement.to_drop;
    return {};
  }
  const std::string text = agreement_text(plan.plan);
  const std::string what = "compile: comparing the ranks' programs" + agreement.reason;
  const std::string hash = std::to_string(Hash().mix(text).value());
  const std::string mine = fmt::format("{} {} {}", hash, nth, agreement.to_drop);
  const auto answers = PERI_TRY(backend.exchange(group, mine, what));
  const auto is_same = [&](const std::string& answer) { return answer.starts_with(hash + " "); };
  if (std::ranges::all_of(answers, is_same)) {
    const std::string& first = answers[0];
    plan.number = Hash().mix(group.to_string()).mix(first).value();
    std::from_chars(first.data() + first.rfind(' ') + 1, first.data() + first.size(), plan.dropped);
    return {};
  }
  const auto texts = PERI_TRY(backend.exchange(group, text, what));
  const auto captured = PERI_TRY(backend.exchange(group, agreement.captured, what));
  // Nobody fails, and thereby ends the others' waits, before all have the texts: so all tell the difference.
  [[maybe_unused]] const auto all_have_them = backend.exchange(group, "", what);
  const auto differs =
      std::find_if(texts.begin(), texts.end(), [&](const std::string& t) { return t != texts[0]; });
  const auto other = static_cast<size_t>(differs - texts.begin());
  const auto a = lines_of(texts[0]), b = lines_of(*differs);
  const size_t i = first_difference(a, b);
  Error error{.code = Code::RankMismatch,
              .message = fmt::format(
                  "compile: ranks traced different programs; the first difference is line {}", i + 1),
              .context = {}};
  auto show = [&](int rank, const std::vector<std::string>& lines) {
    error.context.push_back(
        fmt::format("rank {} : {}", rank, i < lines.size() ? lines[i] : "(the program ends before)"));
  };
  show(group.ranks[0], a);
  show(group.ranks[other], b);
  show_captured(error, group, other, lines_of(captured[0]), lines_of(captured[other]));
  error.hint =
      "every rank must trace the same operations; what depends on the rank goes into the arguments, or "
      "through peri.shard; ranks with programs of their own: `peri help pipelines`";
  return std::unexpected(std::move(error));
}

// Messages of two ranks may be of two programs.
void number_calls(AgreedPlan& agreed, const Group& members) {
  for (size_t i = 0; i < agreed.plan.lines.size(); ++i) {
    auto* line = std::get_if<planner::CollectiveLine>(&agreed.plan.lines[i].line);
    if (!line) continue;
    const bool is_own =
        std::ranges::all_of(line->spec.group.ranks, [&](int r) { return members.index_of(r) >= 0; });
    agreed.reaches_others = agreed.reaches_others || !is_own;
    if (is_own && line->spec.info().sources != Sources::peer)
      line->spec.call = Hash().mix(agreed.number).mix(i).value();
  }
}

planner::Observer observer(const CompileOptions& options) {
  if (!options.print_changed && options.print_after.empty()) return {};
  return [&options, previous = std::string()](const std::string& pass, const std::string& text) mutable {
    const bool wanted = std::ranges::find(options.print_after, pass) != options.print_after.end();
    const bool changed = options.print_changed && text != previous;
    if (wanted || changed)
      fmt::print(stderr, "--- after {}\n{}\n", pass, text);
    else if (options.print_changed)
      fmt::print(stderr, "--- after {} (unchanged)\n", pass);
    previous = text;
  };
}

}  // namespace

Result<AgreedPlan> agree_on_plan(Session& session, Graph graph, const planner::Policy& policy,
                                 const Agreement& agreement, bool check_positions) {
  AgreedPlan agreed{.start = std::chrono::steady_clock::now()};
  const CompileOptions& options = session.compile_options();
  planner::Policy effective = policy;
  effective.machine = session.backend().name();
  effective.topology = session.backend().topology();
  effective.check_positions = agreed.check_positions = check_positions;
  effective.skip.insert(effective.skip.end(), options.skip.begin(), options.skip.end());
  agreed.graph = std::move(graph);
  agreed.plan =
      PERI_TRY(plan(agreed.graph, {session.rank(), session.world_size()}, effective, observer(options)));
  PERI_TRY(agree(session.backend(), agreed, agreement, session.count_program()));
  number_calls(agreed, agreement.group);
  return agreed;
}

Result<CompiledProgram> prepare(Session& session, AgreedPlan agreed, std::vector<kernels::Tensor> constants) {
  CompiledProgram program{std::move(agreed.graph), nullptr, agreed.number, agreed.reaches_others};
  program.executable = PERI_TRY(
      cudagraph::Executable::create(std::move(agreed.plan), session.shared_memory(), std::move(constants)));
  if (agreed.check_positions) program.executable->check_positions();
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - agreed.start;
  program.compile_ms = took.count();
  return program;
}

std::map<std::string, double> CompiledProgram::statistics() const {
  std::map<std::string, double> result = executable->statistics();
  result["compile_ms"] = compile_ms;
  return result;
}

std::string CompiledProgram::explain() const {
  return planner::explain(executable->plan()) + print(executable->partitions(), executable->plan());
}

}  // namespace peri::session
