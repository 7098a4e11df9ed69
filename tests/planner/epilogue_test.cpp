// What becomes a collective's epilogue and what does not, and wrong epilogues that check_plan refuses.
#include "planner/lines.hpp"
#include "tests/planner/programs.hpp"

namespace peri::test {
namespace {

planner::CollectiveLine& call(planner::Plan& plan, int n = 0) {
  for (planner::PlanLine& line : plan.lines)
    if (auto* found = std::get_if<planner::CollectiveLine>(&line.line); found && n-- == 0) return *found;
  FAIL("no collective");
  return std::get<planner::CollectiveLine>(plan.lines[0].line);
}
// The epilogues of a program's collectives, as text.
std::string epilogues_of(const Graph& graph, const planner::Policy& policy = epilogues()) {
  std::string text;
  const planner::Plan plan = planned(graph, policy);
  for (const planner::PlanLine& line : plan.lines)
    if (const auto* found = std::get_if<planner::CollectiveLine>(&line.line))
      text += (text.empty() ? "" : " | ") + found->spec.epilogue.to_string();
  return text;
}

// What is reduced, and another input of its shape.
struct Layer : Program {
  NodeId x = input(DType::f32, {4, 8}), residual = input(DType::f32, {4, 8}),
         w = constant(DType::f32, {8, 8}), scale = constant(DType::f32, {8});
  NodeId sum = all_reduce(op(Op::matmul, {x, w}));
  NodeId norm(NodeId of) { return op(Op::rms_norm, {of, scale}, {{"eps", 1e-6}}); }
};

Graph three_layers() {
  Layer p;
  NodeId h = p.op(Op::softmax, {p.residual});
  for (int i = 0; i < 3; ++i) h = p.op(Op::add, {p.all_reduce(p.op(Op::matmul, {p.norm(h), p.w})), h});
  return p.returning({p.norm(h)});
}

}  // namespace

TEST_CASE("what follows a collective becomes its epilogue where the policy says so") {
  CHECK(epilogues_of(residual_and_norm(), one_shot()).empty());
  CHECK(epilogues_of(residual_and_norm()) ==
        "{(f32, f32) r2 = add(r1, r0) : f32 -> r2} rms_norm {eps = 1e-06}");
  planner::Policy skipped = epilogues();
  skipped.skip = {"fuse_epilogues"};
  CHECK(epilogues_of(residual_and_norm(), skipped).empty());
  Layer only_norm;
  CHECK(epilogues_of(only_norm.returning({only_norm.norm(only_norm.sum)})) == "rms_norm {eps = 1e-06}");
  Layer only_add;
  CHECK(epilogues_of(only_add.returning({only_add.op(Op::mul, {only_add.sum, only_add.residual})})) ==
        "{(f32, f32) r2 = mul(r0, r1) : f32 -> r2}");

  // The result that is normalised is the first, so it lies where the collective's result did.
  Layer two;
  NodeId a = two.op(Op::exp, {two.sum}), b = two.op(Op::add, {two.sum, two.residual});
  CHECK(epilogues_of(two.returning({a, two.norm(b)})) ==
        "{(f32, f32) r2 = exp(r0) : f32; r3 = add(r0, r1) : f32 -> r3, r2} rms_norm {eps = 1e-06}");
  // Also what the call's operand was, if the algorithm leaves it alone; else it is copied first.
  Layer again;
  NodeId product = again.op(Op::neg, {again.x});
  NodeId twice = again.op(Op::add, {again.all_reduce(product), product});
  CHECK(epilogues_of(again.returning({twice})) == "{(f32, f32) r2 = add(r0, r1) : f32 -> r2}");
  planner::Policy overwriting = epilogues();
  overwriting.algorithms[Op::all_reduce] = [](const planner::OpContext&) -> Result<std::string> {
    return "two_shot";
  };
  CHECK(statistics(planned(again.graph, overwriting)).at("identity_copies") == 1);
}

TEST_CASE("what needs the collective's result elsewhere, or what is made later, stays a call of its own") {
  Layer returned;
  NodeId h = returned.op(Op::add, {returned.sum, returned.residual});
  CHECK(epilogues_of(returned.returning({returned.sum, h})).empty());
  Layer read;
  h = read.op(Op::add, {read.sum, read.residual});
  CHECK(epilogues_of(read.returning({read.op(Op::softmax, {read.sum}), h})).empty());
  Layer later;
  NodeId made = later.op(Op::softmax, {later.op(Op::exp, {later.sum})});
  CHECK(epilogues_of(later.returning({later.op(Op::add, {later.sum, made})})).empty());
  // A norm with a weight of the epilogue's own making.
  Program p;
  NodeId x = p.input(DType::f32, {8}), sum = p.all_reduce(p.op(Op::exp, {x}));
  CHECK(epilogues_of(p.returning({p.op(Op::rms_norm, {sum, sum})})).empty());
  // Nothing lies in the result's memory that is not as large.
  Layer cast;
  CHECK(epilogues_of(cast.returning({cast.op(Op::cast, {cast.sum}, {{"dtype", DType::bf16}})})).empty());
  Layer wider;
  NodeId rows = wider.op(Op::add, {wider.sum, wider.input(DType::f32, {3, 4, 8})});
  CHECK(epilogues_of(wider.returning({rows})).empty());
  planner::Policy allocating = epilogues();
  allocating.lowering = planner::Lowering::fallback;
  CHECK(epilogues_of(residual_and_norm(), allocating).empty());
  planner::Policy splitting = epilogues();
  splitting.split = [](const planner::OpContext& context) -> Result<bool> { return context.op == Op::add; };
  CHECK(epilogues_of(residual_and_norm(), splitting).empty());
}

TEST_CASE("a chain of layers has an epilogue each, and fewer calls") {
  const Graph graph = three_layers();
  const std::string each = "{(f32, f32) r2 = add(r0, r1) : f32 -> r2} rms_norm {eps = 1e-06}";
  CHECK(epilogues_of(graph) == each + " | " + each + " | " + each);
  const planner::Plan plan = planned(graph, epilogues());
  CHECK(statistics(plan).at("epilogues") == 3);
  CHECK(statistics(plan).at("kernels") == 5);  // the products, the first norm, and what it is of
  CHECK(statistics(planned(graph)).count("epilogues") == 0);
}

TEST_CASE("check_plan refuses every wrong epilogue, and says why") {
  using planner::Plan;
  struct Mutant {
    const char* defect;
    void (*plant)(Plan&);
    const char* message;
    Graph (*graph)() = residual_and_norm;
  };
  const Mutant mutants[] = {
      {"no weight", [](Plan& p) { call(p).inputs.pop_back(); },
       "another number of operands than its epilogue"},
      {"no normalised output", [](Plan& p) { call(p).outputs.pop_back(); },
       "another number of operands than its epilogue"},
      {"a norm too many",
       [](Plan& p) {
         call(p).spec.epilogue.program = {};
         call(p).inputs.erase(call(p).inputs.begin() + 1);
         call(p).inputs[1].type.view = View::contiguous({4});
       },
       "its epilogue: "},
      {"a register of another dtype",
       [](Plan& p) { call(p).spec.epilogue.program.operand_dtypes[1] = DType::bf16; },
       "its epilogue: dtypes differ"},
      {"an output of another dtype",
       [](Plan& p) {
         call(p).spec.epilogue.program.instructions.push_back({Op::cast, {2}, DType::bf16});
         call(p).spec.epilogue.program.results = {3};
       },
       "its first result is bf16"},
      {"an output of another shape", [](Plan& p) { call(p).outputs[1].type.view = View::contiguous({32}); },
       "and its output is f32[32]"},
      {"an instruction that is not pointwise",
       [](Plan& p) { call(p).spec.epilogue.program.instructions[0].op = Op::softmax; }, "is not pointwise"},
      {"an epilogue of a call that allocates its output", [](Plan& p) { call(p).call_name = "buf9"; },
       "a call that allocates its output has an epilogue"},
      {"one output twice", [](Plan& p) { call(p).outputs[1] = call(p).outputs[0]; },
       "is written twice by one call"},
      {"an input where the result is stored", [](Plan& p) { call(p).inputs[1] = call(p).outputs[0]; },
       "is read, but not there"},
      {"a result stored over what the program still reads",
       [](Plan& p) {
         call(p, 1).outputs[0] = call(p, 1).inputs[1];
         ++call(p, 1).outputs[0].version;
       },
       "is still read", three_layers},
      {"an input that the algorithm overwrites",
       [](Plan& p) {
         call(p).inputs[1] = call(p).inputs[0];
         call(p).spec.algorithm = find_algorithm(Op::all_reduce, Algorithm::two_shot);
       },
       "is read by the epilogue, and the algorithm overwrites it"},
      {"in place without an end barrier",
       [](Plan& p) {
         call(p).spec.algorithm = find_algorithm(Op::all_reduce, Algorithm::two_shot);
         call(p).spec.end_barrier = false;
         call(p).outputs[0] = call(p).inputs[0];
         ++call(p).outputs[0].version;
       },
       "is overwritten by the epilogue while peers may still be reading it"},
  };
  for (const Mutant& mutant : mutants) {
    INFO(mutant.defect);
    Plan plan = planned(mutant.graph(), epilogues());
    REQUIRE(check_plan(plan));
    mutant.plant(plan);
    const Status status = check_plan(plan);
    REQUIRE(!status);
    INFO(status.error().message);
    CHECK(status.error().message.find(mutant.message) != std::string::npos);
  }
}

}  // namespace peri::test
