// Random programs: whatever the policy, the plan is accepted by check_plan, is the same every time, keeps its
// figures consistent and computes the same bits as the reference interpreter.
#include <cmath>
#include <cstring>
#include <map>
#include <set>

#include "planner/lines.hpp"
#include "tests/planner/plan_runner.hpp"
#include "tests/planner/programs.hpp"
#include "tests/support/random_program.hpp"

namespace peri::test {
namespace {

bool same_bits(const Value& a, const Value& b) {
  if (a.type != b.type || a.elements.index() != b.elements.index()) return false;
  if (!is_float(a.type.dtype)) return a.elements == b.elements;
  return std::ranges::equal(a.floats(), b.floats(), same_number);
}

// Every choice that the policy leaves, by the bits of a number.
planner::Policy policy_of(uint64_t seed) {
  planner::Policy policy;
  policy.auto_select = seed & 1;
  if (!(seed & 2)) policy.skip.push_back("fuse");
  policy.planning = seed & 4 ? planner::Planning::reuse : planner::Planning::separate;
  policy.lowering = seed & 8 ? planner::Lowering::fallback : planner::Lowering::out_variant;
  if (seed & 16) policy.ll_bytes = Bytes();
  if (seed & 32) policy.one_shot_bytes = Bytes();  // two_shot, which overwrites its operand
  if (seed & 64)
    policy.algorithms[Op::all_gather] = [](const planner::OpContext&) -> Result<std::string> {
      return "multimem";
    };
  if (seed & 128)
    policy.skip.insert(policy.skip.end(), {"write_in_place", "dead_code", "common_subexpressions"});
  policy.epilogues = seed & 256;
  return policy;
}

// A program that also writes some of its outputs back to inputs of their type.
Graph with_mutations(Graph graph) {
  std::vector<Output> outputs = graph.outputs();
  const std::vector<NodeId> inputs = graph.inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int input = static_cast<int>(i);
    if (std::ranges::find(outputs, input, &Output::mutated_input) != outputs.end()) continue;
    for (int id = graph.size() - 1; id >= 0; --id)
      if (graph.node(NodeId(id)).type == graph.node(inputs[i]).type && NodeId(id) != inputs[i]) {
        outputs.push_back({NodeId(id), input});
        break;
      }
  }
  graph.set_outputs(std::move(outputs));
  return graph;
}

// What is hard to plan, and how often it came up.
struct Reached {
  int collectives = 0, in_place = 0, reused = 0, written_back = 0;
  // Results that were left in their operand's place and then copied, because they were to be overwritten and
  // are read again.
  int overwritten_results = 0;
  // Copies for one group of another window of a buffer, of the same shape.
  int other_windows = 0;
  // Collectives with a program, and with a norm, as epilogue.
  int programs = 0, norms = 0;
  // Values written back that are a part of their buffer, or lie there in another order.
  int windows_written_back = 0;

  void count(const planner::Plan& plan) {
    std::map<std::tuple<BufferId, Group, std::vector<int64_t>>, std::set<std::vector<int64_t>>> copied;
    for (const planner::PlanLine& line : plan.lines) {
      if (const auto* call = std::get_if<planner::CollectiveLine>(&line.line)) {
        ++collectives;
        programs += !call->spec.epilogue.program.instructions.empty();
        norms += call->spec.epilogue.rms_norm_eps.has_value();
      }
      const auto* kernel = std::get_if<planner::KernelLine>(&line.line);
      if (!kernel || kernel->inputs.empty()) continue;
      const planner::PlanOperand &in = kernel->inputs[0], &out = kernel->outputs[0];
      const View& view = in.type.view;
      if (kernel->identity_copy) {
        overwritten_results += in.version > 0;
        std::vector<int64_t> place(view.strides.begin(), view.strides.end());
        place.push_back(view.offset.count());
        copied[{in.buffer, plan.buffer(out.buffer).group, {view.shape.begin(), view.shape.end()}}].insert(
            std::move(place));
      }
      windows_written_back += plan.buffer(out.buffer).kind == planner::BufferKind::input &&
                              kernel->spec.op == Op::contiguous && !is_whole(plan, in);
    }
    for (const auto& [window, places] : copied) other_windows += static_cast<int>(places.size()) - 1;
    for (const planner::Decision& decision : plan.decisions)
      in_place += decision.choice.ends_with("in place");
    reused += static_cast<int>(statistics(plan).at("reuses"));
  }
};

// What every rank gets is what the program gives it, bit for bit. How many values were written back by a
// line.
int check_results(const Graph& graph, std::span<const planner::Plan> plans,
                  std::span<const Arguments> arguments) {
  int written_back = 0;
  const auto expected = interpret(graph, arguments);
  REQUIRE(expected);
  const Result<RunResult> got = run_plans(plans, arguments);
  if (!got) FAIL(got.error().to_string());
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    size_t next = 0;
    for (size_t i = 0; i < graph.outputs().size(); ++i) {
      const Output& output = graph.outputs()[i];
      const Value& value = (*expected)[rank][i];
      INFO("rank " << rank << ", output " << i);
      if (output.mutated_input < 0) {
        REQUIRE(same_bits(got->returned[rank].at(next++), value));
        continue;
      }
      // The program says what is written back. Where the plan does not, the input must be that already.
      const auto written = got->mutated[rank].find(output.mutated_input);
      const bool there = written != got->mutated[rank].end();
      const Value& old = arguments[rank].inputs[static_cast<size_t>(output.mutated_input)];
      REQUIRE(same_bits(there ? written->second : old, value));
      written_back += there;
    }
    REQUIRE(next == got->returned[rank].size());
  }
  return written_back;
}

}  // namespace

TEST_CASE("random programs: the plan computes what the program means") {
  Reached reached;
  for (uint64_t seed = 0; seed < 1800; ++seed) {
    const int world = 1 + static_cast<int>(seed % 4);
    Graph graph = testing::random_program(seed, {.world = world,
                                                 .max_nodes = 30,
                                                 .name_algorithms = seed % 3 == 0,
                                                 .entangled = seed % 2 == 1,
                                                 .layered = seed % 7 < 3});
    if (seed % 5 == 0) graph = with_mutations(std::move(graph));
    const planner::Policy policy = policy_of(seed * 0x9E3779B97F4A7C15u >> 20);
    INFO("seed " << seed << "\n" << print(graph));
    std::vector<planner::Plan> plans;
    std::vector<Arguments> arguments;
    for (int rank = 0; rank < world; ++rank) {
      plans.push_back(planned(graph, policy, {rank, world}));
      arguments.push_back(testing::random_arguments(graph, seed, rank));
      REQUIRE(agreement_text(plans.back()) == agreement_text(plans[0]));
    }
    INFO(print(plans[0]));
    REQUIRE(print(planned(graph, policy, {0, world})) == print(plans[0]));
    REQUIRE(code(planned(graph, policy, {0, world})) == code(plans[0]));
    for (const planner::Plan& plan : plans) {
      const Result<planner::Plan> read = planner::parse_plan(print(plan));
      if (!read) FAIL(read.error().to_string());
      REQUIRE(*read == plan);
    }
    const auto stats = statistics(plans[0]);
    REQUIRE(stats.at("lower_bound_bytes") <= stats.at("peak_bytes"));
    REQUIRE(stats.at("intermediate_buffers") + stats.at("reuses") >=
            stats.at("device_allocs") + stats.at("p2p_allocs"));

    reached.written_back += check_results(graph, plans, arguments);
    reached.count(plans[0]);
  }
  // The generator has reached what this test is about.
  CHECK(reached.collectives > 100);
  CHECK(reached.in_place > 100);
  CHECK(reached.reused > 500);
  CHECK(reached.written_back > 100);
  CHECK(reached.overwritten_results > 50);
  CHECK(reached.other_windows > 50);
  CHECK(reached.windows_written_back > 20);
  CHECK(reached.programs > 50);
  CHECK(reached.norms > 50);
}

// Two values lie in one buffer, and the copy of the first for another group is not the second's.
TEST_CASE("a copy for another group is of the value that is wanted") {
  const Group group{{0, 1}}, other{{1, 0}};
  Program p;
  NodeId x = p.op(Op::exp, {p.input(DType::f32, {4, 4})});
  NodeId a = p.all_reduce(x, other, "one_shot"), b = p.all_reduce(x, group, "one_shot");
  NodeId sum = p.all_reduce(x, other, "two_shot");  // in x's place
  const Graph graph = p.returning({a, b, p.all_reduce(sum, group, "one_shot")});
  const planner::Plan plans[] = {planned(graph, {}, {0, 2}), planned(graph, {}, {1, 2})};
  INFO(print(plans[0]));
  check_results(graph, plans,
                std::vector{testing::random_arguments(graph, 1, 0), testing::random_arguments(graph, 1, 1)});
  CHECK(std::ranges::count_if(plans[0].lines, [](const planner::PlanLine& line) {
          const auto* kernel = std::get_if<planner::KernelLine>(&line.line);
          return kernel && kernel->identity_copy;
        }) == 2);
}

}  // namespace peri::test
