// check_plan refuses plans that are wrong in one place. Each mutant is a good plan with one defect planted by
// hand.
#include "tests/planner/programs.hpp"

namespace peri::test {
namespace {

// Position of the n-th line of a kind (from 0).
template <class T>
size_t nth(const planner::Plan& plan, int n) {
  for (size_t i = 0; i < plan.lines.size(); ++i)
    if (std::holds_alternative<T>(plan.lines[i].line) && n-- == 0) return i;
  FAIL("no such line");
  return 0;
}
template <class T>
T& line(planner::Plan& plan, int n) {
  return std::get<T>(plan.lines[nth<T>(plan, n)].line);
}
void drop(planner::Plan& plan, size_t at) {
  plan.lines.erase(plan.lines.begin() + static_cast<ptrdiff_t>(at));
}
void insert(planner::Plan& plan, size_t at, planner::Line line) {
  plan.lines.insert(plan.lines.begin() + static_cast<ptrdiff_t>(at), {std::move(line), true});
}
BufferId named(const planner::Plan& plan, const std::string& name) {
  for (size_t i = 0; i < plan.buffers.size(); ++i)
    if (plan.buffers[i].name == name) return BufferId(static_cast<int32_t>(i));
  FAIL("no buffer " << name);
  return {};
}
planner::Buffer& buffer(planner::Plan& plan, const std::string& name) {
  return plan.buffers[static_cast<size_t>(named(plan, name).index)];
}

Graph cache_update() {
  Program p;
  NodeId cache = p.input(DType::f32, {16, 4}), position = p.input(DType::i64, {1}),
         row = p.input(DType::f32, {1, 4});
  NodeId next = p.op(Op::index_copy, {cache, position, row}, {{"dim", int64_t{0}}});
  p.write_back(next, 0);
  return p.returning({p.op(Op::softmax, {next}), p.op(Op::sum, {cache})});
}

// exp reuses softmax's storage; the host round trip.
Graph in_place_and_host() {
  Program p;
  NodeId x = p.input(DType::f32, {8, 8}), w = p.constant(DType::f32, {8, 8});
  NodeId m = p.op(Op::matmul, {x, w}), n = p.op(Op::matmul, {m, w});
  NodeId e = p.op(Op::mul, {p.op(Op::exp, {n}), n});
  return p.returning({p.op(Op::copy_to, {e}, {{"place", Place::host}})});
}

struct Mutant {
  const char* defect;
  Graph (*graph)();
  planner::Policy (*policy)();
  void (*plant)(planner::Plan&);
  const char* message;  // part of the refusal
};

const Mutant kMutants[] = {
    {"an allocation is missing", eight_layers, one_shot,
     [](planner::Plan& p) { drop(p, nth<planner::AllocateLine>(p, 0)); }, "owns no storage"},
    {"a reuse is missing", eight_layers, one_shot,
     [](planner::Plan& p) { drop(p, nth<planner::ReuseLine>(p, 3)); }, "owns no storage"},
    {"a call is missing", eight_layers, one_shot,
     [](planner::Plan& p) { drop(p, nth<planner::KernelLine>(p, 2)); }, "is read, but not there"},
    {"a collective is missing", eight_layers, one_shot,
     [](planner::Plan& p) { drop(p, nth<planner::CollectiveLine>(p, 2)); }, "is read, but not there"},
    {"a free is missing", two_operands_at_once, one_shot,
     [](planner::Plan& p) { drop(p, nth<planner::FreeLine>(p, 2)); }, "neither freed nor returned"},
    {"a fallback's output is not freed", eight_layers, fallback,
     [](planner::Plan& p) { drop(p, nth<planner::FreeLine>(p, 0)); }, "neither freed nor returned"},
    {"two lines change places", eight_layers, one_shot,
     [](planner::Plan& p) {
       std::swap(p.lines[nth<planner::KernelLine>(p, 1)], p.lines[nth<planner::CollectiveLine>(p, 1)]);
     },
     "is read, but not there"},
    {"a collective runs before its operand is made", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       std::swap(p.lines[nth<planner::KernelLine>(p, 0)], p.lines[nth<planner::AllocateLine>(p, 2)]);
       std::swap(p.lines[nth<planner::KernelLine>(p, 0)], p.lines[nth<planner::CollectiveLine>(p, 0)]);
     },
     "is read, but not there"},
    {"storage is reused while its value is still needed", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       p.lines[nth<planner::AllocateLine>(p, 3)].line =
           planner::ReuseLine{named(p, "buf3"), named(p, "buf2")};
       line<planner::ReuseLine>(p, 1).from = named(p, "buf3");
     },
     "is read, but not there"},
    {"storage is handed on twice", eight_layers, one_shot,
     [](planner::Plan& p) { line<planner::ReuseLine>(p, 2).from = named(p, "buf0"); }, "owns no storage"},
    {"a call reads a stale buffer", eight_layers, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 3).inputs[0].buffer = named(p, "buf1"); },
     "is read, but not there"},
    {"a call writes storage that was handed on", eight_layers, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 3).outputs[0].buffer = named(p, "buf0"); },
     "owns no storage"},
    {"an end barrier is missing", eight_layers, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).end_barrier = false; },
     "peers may still be reading"},
    {"the last end barrier is missing", eight_layers, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 7).end_barrier = false; },
     "the call ends while peers"},
    {"an operand is in ordinary memory", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       buffer(p, "buf0").kind = planner::BufferKind::regular;
       buffer(p, "buf0").layout = Fixed{{8, 1}};
     },
     "not in symmetric memory"},
    {"an operand is in another group's memory", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       buffer(p, "buf0").layout = CommBuffer{{8, 1}, CommType::symmetric_memory, {{0, 2}}};
     },
     "not in symmetric memory"},
    {"an overwritten operand is read again", view_of_a_value, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).algorithm = "two_shot"; },
     "is read, but not there"},
    {"an algorithm overwrites the caller's tensor", graph_inputs, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 2).algorithm = "two_shot"; },
     "the caller's tensor"},
    {"an algorithm that does not exist", eight_layers, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 2).algorithm = "three_shot"; },
     "unknown algorithm"},
    {"the group lacks this rank", eight_layers, one_shot, [](planner::Plan& p) { p.world.rank = 5; },
     "not in the group"},
    {"a collective writes where peers read", eight_layers, one_shot,
     [](planner::Plan& p) {
       planner::CollectiveLine& c = line<planner::CollectiveLine>(p, 7);
       c.output = c.input;
       p.outputs[0].value = c.input;
     },
     "while peers read it"},
    {"two outputs in one buffer", graph_inputs, one_shot,
     [](planner::Plan& p) { p.outputs[1] = p.outputs[0]; }, "returned twice"},
    {"a comm buffer is returned", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       drop(p, nth<planner::FreeLine>(p, 0));
       p.outputs[0].value.buffer = named(p, "buf0");
     },
     "not the plan's own"},
    {"an input is returned", two_operands_at_once, one_shot,
     [](planner::Plan& p) { p.outputs[0].value.buffer = p.inputs[0]; }, "not the plan's own"},
    {"regular storage from a comm buffer", eight_layers, one_shot,
     [](planner::Plan& p) { line<planner::ReuseLine>(p, 1).from = named(p, "buf2"); },
     "storage of another kind"},
    {"storage of another size", eight_layers, one_shot,
     [](planner::Plan& p) { buffer(p, "buf2").type.shape = {64, 4096}; }, "storage of another kind"},
    {"storage of another dtype", eight_layers, one_shot,
     [](planner::Plan& p) { buffer(p, "buf3").type.dtype = DType::f16; }, "storage of another kind"},
    {"a window reaches outside", view_of_a_value, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).input.type.view.offset += 1; },
     "reaches outside"},
    {"a window that is not contiguous", view_of_a_value, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).input.type.view = {{2, 8}, {1, 2}, 0}; },
     "not contiguous"},
    {"freed too early", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       std::swap(p.lines[nth<planner::FreeLine>(p, 1)], p.lines[nth<planner::CollectiveLine>(p, 1)]);
     },
     "is read, but not there"},
    {"freed twice", two_operands_at_once, one_shot,
     [](planner::Plan& p) { insert(p, p.lines.size(), planner::FreeLine{named(p, "buf3")}); },
     "owns no storage"},
    {"a returned buffer is freed", two_operands_at_once, one_shot,
     [](planner::Plan& p) { insert(p, p.lines.size(), planner::FreeLine{named(p, "buf4")}); },
     "is read, but not there"},
    {"an input is freed", two_operands_at_once, one_shot,
     [](planner::Plan& p) { insert(p, p.lines.size(), planner::FreeLine{p.inputs[0]}); },
     "the caller's tensor is freed"},
    {"allocated twice", two_operands_at_once, one_shot,
     [](planner::Plan& p) { insert(p, 3, planner::AllocateLine{named(p, "buf0")}); }, "gets storage twice"},
    {"an input copy twice", graph_inputs, one_shot,
     [](planner::Plan& p) { insert(p, 4, p.lines[nth<planner::InputCopyLine>(p, 0)].line); },
     "is filled twice"},
    {"an input copy that comes too late", graph_inputs, one_shot,
     [](planner::Plan& p) {
       std::swap(p.lines[nth<planner::InputCopyLine>(p, 0)], p.lines[nth<planner::CollectiveLine>(p, 0)]);
     },
     "is"},
    {"an input is written that is not to be mutated", cache_update, one_shot,
     [](planner::Plan& p) {
       for (planner::PlanOutput& o : p.outputs) o.mutated_input = -1;
       std::swap(p.outputs.front(), p.outputs.back());
     },
     "the caller's"},
    {"a value is not written back", cache_update, one_shot,
     [](planner::Plan& p) { drop(p, nth<planner::KernelLine>(p, 3)); }, "is not written back"},
    {"an input is overwritten before its old value is read", cache_update, one_shot,
     [](planner::Plan& p) {
       for (planner::KernelLine* k = &line<planner::KernelLine>(p, 0);
            !k->outputs.empty() && k->outputs[0].buffer != p.inputs[0];)
         k->outputs[0].buffer = p.inputs[0];
       line<planner::KernelLine>(p, 1).inputs[0].buffer = p.inputs[0];
     },
     "is"},
    {"an instruction reads a later register", in_place_and_host, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 2).spec.fused.instructions[0].operands[0] = 2; },
     "not made yet"},
    {"a program with another dtype", in_place_and_host, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 2).spec.fused.operand_dtypes[0] = DType::bf16; },
     "another type"},
    {"a result that is not the output's", in_place_and_host, one_shot,
     [](planner::Plan& p) {
       line<planner::KernelLine>(p, 2).spec.fused.instructions[1].dtype = DType::boolean;
     },
     "another type"},
    {"in place, though a later instruction reads the operand", in_place_and_host, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 2).spec.fused.results[0] = 1; }, "is still read"},
    {"a matmul over its own operand", in_place_and_host, one_shot,
     [](planner::Plan& p) {
       p.lines[nth<planner::AllocateLine>(p, 1)].line =
           planner::ReuseLine{named(p, "buf1"), named(p, "buf0")};
     },
     "is still read"},
    {"a captured copy between places", in_place_and_host, one_shot,
     [](planner::Plan& p) { p.lines[nth<planner::DeviceCopyLine>(p, 0)].captured = true; }, "is captured"},
    {"a comm buffer handed on in place", three_siblings, one_shot,
     [](planner::Plan& p) {
       for (planner::KernelLine* k = &line<planner::KernelLine>(p, 1);
            k->inputs[0].buffer != named(p, "buf2");)
         k->inputs[0].buffer = named(p, "buf2");
     },
     "is still read"},
    {"a call with another attribute makes another type", cache_update, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 2).spec.attributes.set("keepdim", true); }, "makes"},
};

}  // namespace

TEST_CASE("check_plan refuses every mutant, and says why") {
  for (const Mutant& mutant : kMutants) {
    INFO(mutant.defect);
    planner::Plan plan = planned(mutant.graph(), mutant.policy());
    REQUIRE(check_plan(plan));
    mutant.plant(plan);
    INFO(print(plan));
    const Status status = check_plan(plan);
    REQUIRE(!status);
    CHECK(status.error().code == Code::PlanInvalid);
    INFO(status.error().message);
    CHECK(status.error().message.find(mutant.message) != std::string::npos);
  }
}

TEST_CASE("check_plan accepts an end barrier left out where a later synchronisation comes first") {
  planner::Plan plan = planned(two_operands_at_once());
  line<planner::CollectiveLine>(plan, 0).end_barrier = false;
  CHECK(check_plan(plan));  // the second collective synchronises the group, and nothing has overwritten buf0
  line<planner::CollectiveLine>(plan, 1).end_barrier = false;
  CHECK_FALSE(check_plan(plan));
}

TEST_CASE("check_plan knows that a message between two is no synchronisation of their group") {
  Program p;
  const Group group{{0, 1}};
  NodeId sum = p.all_reduce(p.op(Op::neg, {p.input(DType::f32, {64})}), group, "one_shot");
  planner::Plan plan =
      planned(p.returning({p.op(Op::send, {sum}, {{"peer", int64_t{1}}, {"group", group}})}));
  REQUIRE(check_plan(plan));
  line<planner::CollectiveLine>(plan, 0).end_barrier = false;
  const Status status = check_plan(plan);
  REQUIRE(!status);
  CHECK(status.error().message.find("the call ends while peers") != std::string::npos);
}

// Any line left out or exchanged with its neighbour is noticed, unless the plan stays right.
TEST_CASE("check_plan notices lines left out") {
  for (auto graph : {eight_layers, two_operands_at_once, operands_not_ours, graph_inputs, three_siblings}) {
    const planner::Plan good = planned(graph(), one_shot(), {0, 4});
    for (size_t i = 0; i < good.lines.size(); ++i) {
      const auto* free = std::get_if<planner::FreeLine>(&good.lines[i].line);
      if (free && good.buffer(free->buffer).kind == planner::BufferKind::comm)
        continue;  // persistent memory needs no free
      planner::Plan mutant = good;
      drop(mutant, i);
      INFO("without line " << i + 1 << " of\n" << print(good));
      CHECK_FALSE(check_plan(mutant));
    }
  }
}

}  // namespace peri::test
