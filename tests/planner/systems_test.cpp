// What S1, S2, S3, S6 and S8 of planner/SYSTEMS.md say, as numbers. The whole plans are in goldens/.
#include "tests/planner/programs.hpp"

namespace peri::test {
namespace {

using Stats = std::map<std::string, double>;

template <class T>
int count(const planner::Plan& plan) {
  return static_cast<int>(std::ranges::count_if(
      plan.lines, [](const planner::PlanLine& line) { return std::holds_alternative<T>(line.line); }));
}

bool decided(const planner::Plan& plan, const std::string& choice, const std::string& reason) {
  return std::ranges::any_of(plan.decisions, [&](const planner::Decision& d) {
    return d.choice == choice && d.reason.find(reason) != std::string::npos;
  });
}

planner::Policy two_shot() {
  planner::Policy policy;
  policy.algorithms[Op::all_reduce] = [](const planner::OpContext&) -> Result<std::string> {
    return "two_shot";
  };
  return policy;
}

}  // namespace

TEST_CASE("S8: eight layers, both columns of the table") {
  Stats out = statistics(planned(eight_layers()));
  CHECK(out["buffer_names"] == 16);
  CHECK(out["reuses"] == 14);
  CHECK(out["device_allocs"] == 1);
  CHECK(out["p2p_allocs"] == 1);
  CHECK(out["out_variant_calls"] == 16);
  CHECK(out["intermediate_buffers"] == 2);
  CHECK(out["identity_copies"] == 0);
  CHECK(out["comm_pool_bytes"] == 128 * 4096 * 2);
  CHECK(out["peak_bytes"] == 2 * 128 * 4096 * 2);
  CHECK(out["lower_bound_bytes"] == 2 * 128 * 4096 * 2);
  CHECK(out["barriers"] == 8);
  CHECK(out["elided_barriers"] == 0);
  CHECK(out["kernels"] == 8);

  Stats call = statistics(planned(eight_layers(), fallback()));
  CHECK(call["buffer_names"] == 24);
  CHECK(call["reuses"] == 7);
  CHECK(call["device_allocs"] == 0);
  CHECK(call["p2p_allocs"] == 1);
  CHECK(call["out_variant_calls"] == 8);
  CHECK(call["intermediate_buffers"] == 9);
}

TEST_CASE("S1: comm buffers") {
  CHECK(statistics(planned(two_operands_at_once()))["p2p_allocs"] == 2);
  CHECK(statistics(planned(operands_in_sequence()))["p2p_allocs"] == 1);
  SECTION("buffers of two groups never share storage") {
    Program p;
    NodeId x = p.input(DType::f32, {4, 8});
    NodeId a = p.all_reduce(p.op(Op::exp, {x}), {{0, 1}});
    const planner::Plan plan =
        planned(p.returning({p.all_reduce(p.op(Op::exp, {a}), {{0, 1, 2}})}), one_shot(), {0, 3});
    CHECK(statistics(plan)["p2p_allocs"] == 2);
  }
  SECTION("a view's base becomes symmetric, and the offset is passed") {
    const planner::Plan plan = planned(view_of_a_value());
    CHECK(statistics(plan)["identity_copies"] == 0);
    for (const planner::PlanLine& line : plan.lines)
      if (const auto* call = std::get_if<planner::CollectiveLine>(&line.line)) {
        CHECK(call->inputs[0].type.view.offset == Elements(16));
        CHECK(plan.buffer(call->inputs[0].buffer).kind == planner::BufferKind::comm);
      }
  }
  SECTION("an operand that is not contiguous is copied, and the copy is the comm buffer") {
    Program p;
    NodeId a = p.op(Op::exp, {p.input(DType::f32, {4, 8})});
    const planner::Plan plan = planned(
        p.returning({p.all_reduce(p.op(Op::permute, {a}, {{"dims", Ints{1, 0}}})), p.op(Op::neg, {a})}));
    CHECK(statistics(plan)["p2p_allocs"] == 1);
    CHECK(statistics(plan)["identity_copies"] == 0);
    CHECK(statistics(plan)["kernels"] == 3);  // exp, the copy, neg
  }
  SECTION("the output of an algorithm that writes to peers is the symmetric one, and is not returned") {
    planner::Policy policy;
    policy.algorithms[Op::all_gather] = [](const planner::OpContext&) -> Result<std::string> {
      return "multimem";
    };
    Program p;
    NodeId a = p.op(Op::all_gather, {p.input(DType::f32, {4, 8})}, {{"group", Group{{0, 1}}}});
    Stats inner = statistics(planned(p.returning({p.op(Op::exp, {a})}), policy));
    CHECK(inner["p2p_allocs"] == 1);
    CHECK(inner["input_copies"] == 0);
    CHECK(inner["identity_copies"] == 0);
    Program q;
    NodeId b = q.op(Op::all_gather, {q.input(DType::f32, {4, 8})}, {{"group", Group{{0, 1}}}});
    CHECK(statistics(planned(q.returning({b}), policy))["identity_copies"] == 1);
  }
}

// Peers look for a symmetric operand at this rank's offset in its buffer.
TEST_CASE("a shard, which lies elsewhere on every rank, is copied before peers read it") {
  for (const planner::Policy& policy : {one_shot(), two_shot()})
    for (int rank : {0, 1}) {
      Program p;
      const NodeId x = p.input(DType::f32, {4, 8});
      const NodeId part = p.op(Op::shard, {x}, {{"dim", int64_t{0}}, {"group", Group{{0, 1}}}});
      const planner::Plan plan =
          planned(p.returning({p.all_reduce(p.reshape(part, {16})), p.op(Op::exp, {x})}), policy, {rank, 2});
      CHECK(statistics(plan)["input_copies"] == 0);
      CHECK(statistics(plan)["p2p_allocs"] == 1);
      for (const planner::PlanLine& line : plan.lines)
        if (const auto* call = std::get_if<planner::CollectiveLine>(&line.line))
          CHECK(call->inputs[0].type.view.offset == Elements(0));
    }
}

TEST_CASE("ranks agree on calls that read a shard and the same elements as a slice") {
  Program p;
  const NodeId x = p.input(DType::f32, {4}), slice = p.slice(x, 0, 0, 2);
  const NodeId shard = p.op(Op::shard, {x}, {{"dim", int64_t{0}}, {"group", Group{{0, 1}}}});
  const NodeId sum = p.op(Op::add, {shard, slice});
  const Graph graph = p.returning({p.op(Op::mul, {p.op(Op::mul, {sum, slice}), shard})});
  planner::Policy plain;
  for (bool fuse : {true, false}) {
    plain.skip = fuse ? std::vector<std::string>{} : std::vector<std::string>{"fuse"};
    CHECK(agreement_text(planned(graph, plain, {0, 2})) == agreement_text(planned(graph, plain, {1, 2})));
  }
}

TEST_CASE("S3: operands that cannot become comm buffers are copied once") {
  const planner::Plan plan = planned(operands_not_ours(), one_shot(), {0, 4});
  CHECK(statistics(plan)["identity_copies"] == 1);
  CHECK(decided(plan, "identity copy", "also returned"));

  Program other;  // neither group has all ranks of the other
  const NodeId a = other.op(Op::exp, {other.input(DType::f32, {4, 8})});
  const planner::Plan apart =
      planned(other.returning({other.all_reduce(a, {{0, 1}}), other.all_reduce(a, {{0, 2}}),
                               other.all_reduce(a, {{0, 2}})}),
              one_shot(), {0, 3});
  CHECK(statistics(apart)["identity_copies"] == 1);
  CHECK(decided(apart, "identity copy", "another group, {0,1}"));
  CHECK(decided(apart, "comm buffer as it is", "copied for this group already"));

  Program p;  // a fallback's output, reduced again as it is
  const planner::Plan twice = planned(
      p.returning({p.all_reduce(p.all_reduce(p.op(Op::exp, {p.input(DType::f32, {4})})))}), fallback());
  CHECK(statistics(twice)["identity_copies"] == 1);
  CHECK(decided(twice, "identity copy", "allocates it itself"));
}

TEST_CASE("S6: graph inputs") {
  const planner::Plan plan = planned(graph_inputs());
  Stats stats = statistics(plan);
  CHECK(stats["input_copies"] == 2);  // x once for both uses, the constant; the symmetric input not at all
  CHECK(stats["p2p_allocs"] == 2);
  CHECK(stats["identity_copies"] == 0);
  CHECK(count<planner::InputCopyLine>(plan) == 2);
  CHECK(std::holds_alternative<planner::AllocateLine>(plan.lines[0].line));  // in the header
  CHECK(std::holds_alternative<planner::AllocateLine>(plan.lines[1].line));

  Program p;  // symmetric memory of another group is as good as none, unless it has all ranks
  NodeId x = p.input(DType::f32, {4}, SymmetricAllocator{{{0, 1}}});
  CHECK(statistics(
            planned(p.returning({p.all_reduce(x, {{0, 1, 2}})}), one_shot(), {0, 3}))["input_copies"] == 1);
  Program q;
  NodeId y = q.input(DType::f32, {4}, SymmetricAllocator{{{0, 1, 2}}});
  CHECK(statistics(planned(q.returning({q.all_reduce(y)}), one_shot(), {0, 3}))["input_copies"] == 0);
}

TEST_CASE("a value that a group and a larger one want lies in memory of the larger one, once") {
  const Group pair{{0, 1}}, all{{0, 1, 2}};
  auto figures = [&](bool of_input, std::string first, std::string second) {
    Program p;
    NodeId x = p.input(DType::f32, {4, 8});
    if (!of_input) x = p.op(Op::exp, {x});
    const NodeId one = p.all_reduce(x, pair, std::move(first)), two = p.all_reduce(x, all, std::move(second));
    const planner::Plan plan = planned(p.returning({p.op(Op::add, {one, two})}), {}, {0, 3});
    Stats stats = statistics(plan);
    return std::vector{stats["p2p_allocs"], stats["input_copies"], stats["identity_copies"]};
  };
  using Figures = std::vector<double>;
  CHECK(figures(false, "one_shot", "one_shot") == Figures{1, 0, 0});
  CHECK(figures(true, "one_shot", "one_shot") == Figures{1, 1, 0});
  CHECK(figures(false, "one_shot", "two_shot") == Figures{1, 0, 0});  // the last may overwrite it
  CHECK(figures(true, "two_shot", "one_shot") == Figures{2, 1, 1});   // the first needs one of its own
  CHECK(figures(false, "multimem_one_shot", "one_shot") ==
        Figures{2, 0, 1});  // an address of all of its group
}

TEST_CASE("algorithms that overwrite their operand") {
  SECTION("leave the result in place, if it is not returned") {
    Program p;
    NodeId a = p.op(Op::exp, {p.input(DType::f32, {4, 8})});
    const planner::Plan plan = planned(p.returning({p.op(Op::neg, {p.all_reduce(a)})}), two_shot());
    CHECK(decided(plan, "in place", "not read again"));
    CHECK(statistics(plan)["intermediate_buffers"] == 2);
  }
  SECTION("leave the result where a view of the operand lies") {
    Program p;
    NodeId a = p.op(Op::exp, {p.input(DType::f32, {4, 8})});
    NodeId r = p.all_reduce(p.slice(a, 0, 2, 4));
    const planner::Plan plan = planned(p.returning({p.op(Op::neg, {p.slice(r, 0, 1, 2)})}), two_shot());
    bool seen = false;
    for (const planner::PlanLine& line : plan.lines)
      if (const auto* kernel = std::get_if<planner::KernelLine>(&line.line);
          kernel && kernel->spec.name() == "neg") {
        CHECK(kernel->inputs[0].type.view == View{{1, 8}, {8, 1}, Elements(24)});
        seen = true;
      }
    CHECK(seen);
  }
  SECTION("get a copy, if the operand is read again") {
    Program p;
    NodeId a = p.op(Op::exp, {p.input(DType::f32, {4, 8})});
    const planner::Plan plan = planned(p.returning({p.op(Op::add, {p.all_reduce(a), a})}), two_shot());
    CHECK(decided(plan, "identity copy", "read again"));
    CHECK(statistics(plan)["identity_copies"] == 1);
  }
  SECTION("never get the caller's memory, nor a copy that another collective wants") {
    Program p;
    NodeId x = p.input(DType::f32, {4}, SymmetricAllocator{{{0, 1}}}), y = p.input(DType::f32, {4});
    const planner::Plan plan =
        planned(p.returning({p.all_reduce(x), p.all_reduce(y), p.all_reduce(y)}), two_shot());
    CHECK(decided(plan, "identity copy", "the caller's"));
    CHECK(decided(plan, "identity copy", "another collective wants"));
    CHECK(statistics(plan)["identity_copies"] == 2);
    CHECK(statistics(plan)["input_copies"] == 1);
  }
}

TEST_CASE("S2: every choice and refusal has its reason") {
  auto choice = [](planner::Policy policy, Shape shape, Group group = {{0, 1}}, std::string named = "",
                   std::string reduce = "sum") {
    Program p;
    NodeId x = p.op(Op::exp, {p.input(DType::f32, shape)});
    NodeId y = p.op(Op::all_reduce, {x}, {{"group", group}, {"algorithm", named}, {"reduce", reduce}});
    const World world{0, std::ranges::max(group.ranks) + 1};
    const planner::Decision decision = planned(p.returning({y}), policy, world).decisions[0];
    CHECK(decision.subject == "all_reduce at model.lua:2");
    return decision.choice + ": " + decision.reason;
  };
  auto named = [](std::string name) {
    planner::Policy policy;
    policy.algorithms[Op::all_reduce] = [name](const planner::OpContext&) -> Result<std::string> {
      return name;
    };
    return policy;
  };
  const planner::Policy sizes{.ll_bytes = Bytes(16384), .one_shot_bytes = Bytes(262144)};
  CHECK(choice(sizes, {4096}) == "ll: 16384 bytes <= ll_bytes 16384");
  CHECK(choice(sizes, {4097}) == "one_shot: 16388 bytes <= one_shot_bytes 262144");
  CHECK(choice(sizes, {65536}) == "one_shot: 262144 bytes <= one_shot_bytes 262144");
  CHECK(choice(sizes, {65537}) == "two_shot: too large for one_shot: 262148 bytes > one_shot_bytes 262144");
  CHECK(choice({}, {1025}) == "two_shot: too large for one_shot: 4100 bytes > one_shot_bytes 4096");
  CHECK(choice({.machine = "cuda"}, {65536}) == "ll: 262144 bytes <= ll_bytes 4194304");
  CHECK(choice({}, {0}) == "ll: the operand cannot be realized: it has no elements");
  CHECK(choice({}, {4}, {{0}}) == "identity: the group has one rank");
  CHECK(choice({}, {4}, {{0, 1}}, "two_shot") == "two_shot: named in the script");
  CHECK(choice({.auto_select = false}, {4}) == "ll: selection is off");
  CHECK(choice({.auto_select = false}, {4}, {{0, 1}}, "one_shot") == "one_shot: named in the script");
  CHECK(choice(named("one_shot"), {4}) == "one_shot: the policy's choice");
  CHECK(choice(named(""), {4}) == "ll: 16 bytes <= ll_bytes 4096");
  CHECK(choice(named("one_shoot"), {4}) ==
        "ll: the policy's \"one_shoot\" is unknown; did you mean \"one_shot\"?");
  CHECK(choice(named("multimem"), {4}, {{0, 1}}, "", "prod") ==
        "ll: multimem does not support the reduction prod");

  // What the machine's ranks can do between them.
  auto on = [&](std::string name, bool nccl, bool symmetric_memory, std::string machine = "cuda") {
    planner::Policy policy = name.empty() ? planner::Policy{} : named(name);
    policy.machine = std::move(machine);
    const std::vector<RankLocation> ranks{{"a", "gpu-0", nccl}, {"a", "gpu-1", nccl}};
    policy.topology = symmetric_memory ? Topology(ranks, {}) : Topology(ranks, {{0, 1}});
    return policy;
  };
  CHECK(choice(on("nccl", false, true, "host"), {4}) == "ll: nccl is for GPUs");
  CHECK(choice(on("nccl", false, true), {4}) == "ll: nccl needs its library and a GPU for every rank");
  CHECK(choice(on("nccl", true, true), {4}) == "nccl: the policy's choice");
  CHECK(choice(on("one_shot", true, false), {4}) == "ll: one_shot needs GPUs that reach each other's memory");
  CHECK(choice(on("ll", true, false), {4}) == "ll: the policy's choice");
  for (int64_t count : {4, 1 << 20})
    CHECK(choice(on("", true, false), {count}) == "nccl: these GPUs cannot reach each other's memory");
  CHECK(choice(on("", false, false), {4}) == "ll: these GPUs cannot reach each other's memory");
  CHECK(choice({}, {4}, {{0, 1}}, "nccl") == "nccl: named in the script");

  // The group is asked, not the world: ranks 0 and 1 have no P2P, 0 and 2 have.
  planner::Policy mixed;
  mixed.machine = "cuda";
  mixed.topology = Topology({{"a", "gpu-0", true}, {"a", "gpu-1", true}, {"a", "gpu-2", true}}, {{0, 1}});
  CHECK(choice(mixed, {4}, {{0, 1}}) == "nccl: these GPUs cannot reach each other's memory");
  CHECK(choice(mixed, {4}, {{0, 2}}) == "ll: 16 bytes <= ll_bytes 4194304");

  planner::Policy broken;
  broken.algorithms[Op::all_reduce] = [](const planner::OpContext& op) -> Result<std::string> {
    return fail(Code::ScriptError, "no", op.origin);
  };
  Program p;
  const Result<planner::Plan> failed =
      plan(p.returning({p.all_reduce(p.input(DType::f32, {4}))}), {0, 2}, broken);
  REQUIRE(!failed);
  CHECK(failed.error().code == Code::ScriptError);
  CHECK(failed.error().where.line == 1);
}

TEST_CASE("a collective on a rank outside its group is refused with its line") {
  Program p;
  const Result<planner::Plan> failed =
      planner::plan(p.returning({p.all_reduce(p.input(DType::f32, {4}))}), {2, 3}, {});
  REQUIRE(!failed);
  CHECK(failed.error().to_string().starts_with("model.lua:1: all_reduce: rank 2 is not in group {0,1}"));
}

}  // namespace peri::test
