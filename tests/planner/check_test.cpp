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
  for (BufferId id : plan.buffers.ids())
    if (plan.buffer(id).name == name) return id;
  FAIL("no buffer " << name);
  return {};
}
planner::Buffer& buffer(planner::Plan& plan, const std::string& name) {
  return plan.buffers[named(plan, name)];
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

// A kernel on host memory, beside one on the device.
Graph host_work() {
  Program p;
  NodeId x = p.input(DType::f32, {8, 8});
  NodeId host = p.op(Op::copy_to, {p.op(Op::exp, {x})}, {{"place", Place::host}});
  return p.returning({p.op(Op::contiguous, {p.op(Op::permute, {host}, {{"dims", Ints{1, 0}}})})});
}

// The sum takes its operand's place, and is read by two calls.
Graph in_place_sum() {
  Program p;
  NodeId x = p.input(DType::f32, {8, 8}), w = p.constant(DType::f32, {8, 8});
  NodeId sum = p.all_reduce(p.op(Op::matmul, {x, w}));
  return p.returning({p.op(Op::softmax, {sum}), p.op(Op::matmul, {sum, w})});
}

// Two groups, one after the other.
Graph two_groups() {
  Program p;
  NodeId x = p.input(DType::f32, {4, 8}), w = p.constant(DType::f32, {8, 8});
  NodeId pair = p.all_reduce(p.op(Op::matmul, {x, w}), {{0, 1}});
  return p.returning({p.all_reduce(p.op(Op::matmul, {pair, w}), {{0, 1, 2}})});
}

// What peers write, then an operand in the same storage.
Graph gathered() {
  Program p;
  NodeId all = p.op(Op::all_gather, {p.input(DType::f32, {2, 8})}, {{"group", Group{{0, 1}}}});
  return p.returning({p.all_reduce(p.op(Op::softmax, {p.op(Op::softmax, {all})}))});
}

Graph messages() {
  Program p;
  const Group group{{0, 1}};
  NodeId x = p.op(Op::softmax, {p.input(DType::f32, {8, 8})});
  NodeId sent = p.op(Op::send, {x}, {{"peer", int64_t{1}}, {"group", group}});
  NodeId met = p.op(Op::barrier, {sent}, {{"group", group}});
  return p.returning({p.op(Op::matmul, {met, x})});
}

planner::Policy two_shot() {
  planner::Policy policy;
  policy.algorithms[Op::all_reduce] = [](const planner::OpContext&) -> Result<std::string> {
    return "two_shot";
  };
  return policy;
}
planner::Policy gathers_by_multicast() {
  planner::Policy policy = one_shot();
  policy.algorithms[Op::all_gather] = [](const planner::OpContext&) -> Result<std::string> {
    return "multimem";
  };
  return policy;
}

planner::Pool& pool(planner::Plan& plan, const std::string& name) {
  return plan.pools[buffer(plan, name).pool];
}
void share(planner::Plan& plan, const std::string& name, const std::string& with) {
  buffer(plan, name).pool = buffer(plan, with).pool;
}
// Changes what a buffer is, and its pool with it.
void become(planner::Plan& plan, const std::string& name, planner::BufferKind kind, Group group) {
  pool(plan, name).kind = buffer(plan, name).kind = kind;
  pool(plan, name).group = buffer(plan, name).group = std::move(group);
}
// Takes line `from` out and puts it before what is then line `to`.
void move(planner::Plan& plan, size_t from, size_t to) {
  planner::PlanLine line = plan.lines[from];
  drop(plan, from);
  plan.lines.insert(plan.lines.begin() + static_cast<ptrdiff_t>(to), std::move(line));
}
void repeat(planner::Plan& plan, size_t at) {
  insert(plan, at + 1, plan.lines[at].line);
}

struct Mutant {
  const char* defect;
  Graph (*graph)();
  planner::Policy (*policy)();
  void (*plant)(planner::Plan&);
  const char* message;  // part of the refusal
  World world = {0, 2};
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
       share(p, "buf3", "buf2");
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
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).spec.end_barrier = false; },
     "peers may still be reading"},
    {"the last end barrier is missing", eight_layers, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 7).spec.end_barrier = false; },
     "the call ends while peers"},
    {"an operand is in ordinary memory", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       become(p, "buf0", planner::BufferKind::regular, {});
     },
     "not in symmetric memory"},
    {"an operand is in another group's memory", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       become(p, "buf0", planner::BufferKind::comm, {{0}});
     },
     "not in symmetric memory"},
    {"an overwritten operand is read again", view_of_a_value, one_shot,
     [](planner::Plan& p) {
       line<planner::CollectiveLine>(p, 0).spec.algorithm =
           find_algorithm(Op::all_reduce, Algorithm::two_shot);
       line<planner::KernelLine>(p, 1).inputs[1].type.view.offset = Elements(8);  // half of it is overwritten
     },
     "is read, but not there"},
    {"an algorithm overwrites the caller's tensor", graph_inputs, one_shot,
     [](planner::Plan& p) {
       line<planner::CollectiveLine>(p, 2).spec.algorithm =
           find_algorithm(Op::all_reduce, Algorithm::two_shot);
     },
     "the caller's tensor"},
    {"an algorithm of another op", eight_layers, one_shot,
     [](planner::Plan& p) {
       line<planner::CollectiveLine>(p, 2).spec.algorithm = find_algorithm(Op::broadcast, Algorithm::ll);
     },
     "no algorithm of its op"},
    {"a collective without its output", eight_layers, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 2).outputs.clear(); },
     "another number of operands"},
    {"the group lacks this rank", eight_layers, one_shot, [](planner::Plan& p) { p.world = {5, 6}; },
     "not in group"},
    {"a collective writes where peers read", eight_layers, one_shot,
     [](planner::Plan& p) {
       planner::CollectiveLine& c = line<planner::CollectiveLine>(p, 7);
       c.outputs = c.inputs;
       p.outputs[0].value = c.inputs[0];
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
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).inputs[0].type.view.offset += Elements(1); },
     "reaches outside"},
    {"a window that is not contiguous", view_of_a_value, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).inputs[0].type.view = {{2, 8}, {1, 2}, {}}; },
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
     "value 0 is made after value 0"},
    {"an input copy that comes too late", graph_inputs, one_shot,
     [](planner::Plan& p) {
       std::swap(p.lines[nth<planner::InputCopyLine>(p, 0)], p.lines[nth<planner::CollectiveLine>(p, 0)]);
     },
     "is read, but not there"},
    {"an input is written that is not to be mutated", cache_update, one_shot,
     [](planner::Plan& p) {
       for (planner::PlanOutput& o : p.outputs) o.mutated_input = -1;
       std::swap(p.outputs.front(), p.outputs.back());
     },
     "the caller's"},
    {"a value is not written back", cache_update, one_shot,
     [](planner::Plan& p) {
       drop(p, nth<planner::KernelLine>(p, 3));
       p.outputs.back().value.version = 0;
     },
     "is not written back"},
    {"an input is overwritten before its old value is read", cache_update, one_shot,
     [](planner::Plan& p) {
       planner::PlanOperand& made = line<planner::KernelLine>(p, 0).outputs[0];
       made = p.outputs.back().value;
       line<planner::KernelLine>(p, 1).inputs[0] = made;
     },
     "value 0 is read, and value 1 lies there"},
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
       share(p, "buf1", "buf0");
     },
     "is still read"},
    {"a captured copy between places", in_place_and_host, one_shot,
     [](planner::Plan& p) { p.lines[nth<planner::DeviceCopyLine>(p, 0)].captured = true; }, "is captured"},
    {"a comm buffer handed on in place", three_siblings, one_shot,
     [](planner::Plan& p) {
       line<planner::KernelLine>(p, 1).inputs[0].buffer = named(p, "buf2");
     },
     "is still read"},
    // What is returned.
    {"an output lies outside its buffer", two_operands_at_once, one_shot,
     [](planner::Plan& p) { p.outputs[0].value.type.view.offset = Elements(1); }, "reaches outside"},
    {"an output of another dtype", two_operands_at_once, one_shot,
     [](planner::Plan& p) { p.outputs[0].value.type.dtype = DType::f16; }, "another dtype"},
    {"an output that is a part", two_operands_at_once, one_shot,
     [](planner::Plan& p) { p.outputs[0].value.type.view = View::contiguous({2, 8}); },
     "an output is not all of it"},
    {"an output that is one element many times", two_operands_at_once, one_shot,
     [](planner::Plan& p) { p.outputs[0].value.type.view.strides = {0, 0}; }, "an output is not all of it"},
    {"a value is written back to another input", cache_update, one_shot,
     [](planner::Plan& p) { p.outputs.back().mutated_input = 1; }, "is not written back"},

    // Values of one buffer.
    {"a reader moved before an in-place collective", in_place_sum, two_shot,
     [](planner::Plan& p) {
       const size_t reader = nth<planner::KernelLine>(p, 1);
       move(p, reader - 1, 0);  // its storage
       move(p, reader, nth<planner::CollectiveLine>(p, 0));
     },
     "value 1 is read, and value 0 lies there"},
    {"an in-place collective twice", in_place_sum, two_shot,
     [](planner::Plan& p) { repeat(p, nth<planner::CollectiveLine>(p, 0)); },
     "value 0 is read, and value 1 lies there"},
    {"an in-place collective that is missing", in_place_sum, two_shot,
     [](planner::Plan& p) { drop(p, nth<planner::CollectiveLine>(p, 0)); },
     "value 1 is read, and value 0 lies there"},
    {"the old value of an input is read after its update", cache_update, one_shot,
     [](planner::Plan& p) {
       move(p, nth<planner::KernelLine>(p, 2), nth<planner::KernelLine>(p, 3));
     },
     "value 0 is read, and value 1 lies there"},
    {"an input is updated twice", cache_update, one_shot,
     [](planner::Plan& p) { repeat(p, nth<planner::KernelLine>(p, 3)); }, "value 1 is made after value 1"},

    // Windows.
    {"a window that wraps round", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       line<planner::KernelLine>(p, 1).inputs[0].type.view.strides = {int64_t{1} << 62, 1};
     },
     "reaches outside"},
    {"a window whose end wraps round", two_operands_at_once, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 1).inputs[0].type.view.offset = Elements(INT64_MAX - 20); },
     "reaches outside"},
    {"a negative stride", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       line<planner::KernelLine>(p, 1).inputs[0].type.view = {{4, 8}, {-8, 1}, Elements(24)};
     },
     "reaches outside"},
    {"a negative offset", two_operands_at_once, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 1).inputs[0].type.view.offset = Elements(-1); },
     "reaches outside"},
    {"a first write that does not fill", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       planner::KernelLine& exp = line<planner::KernelLine>(p, 1);
       exp.inputs[0].type.view = exp.outputs[0].type.view = View::contiguous({2, 8});
     },
     "is not filled by its first write"},
    {"a first write that fills but leaves holes", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       planner::KernelLine& exp = line<planner::KernelLine>(p, 1);
       exp.inputs[0].type.view = exp.outputs[0].type.view = {{2}, {31}, {}};
     },
     "is not filled by its first write"},

    // Calls.
    {"work on host memory is captured", host_work, one_shot,
     [](planner::Plan& p) { p.lines[nth<planner::KernelLine>(p, 1)].captured = true; },
     "work on host memory is captured"},
    {"an instruction that reads itself", in_place_and_host, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 2).spec.fused.instructions[0].operands[0] = 1; },
     "not made yet"},
    {"an instruction that is not pointwise", in_place_and_host, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 2).spec.fused.instructions[0].op = Op::softmax; },
     "no instruction of a fused call"},
    {"an instruction without its operands", in_place_and_host, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 2).spec.fused.instructions[0].operands.clear(); },
     "has 0 operands"},
    {"one call that writes a buffer twice", three_siblings, one_shot,
     [](planner::Plan& p) {
       line<planner::KernelLine>(p, 0).outputs[1].buffer = line<planner::KernelLine>(p, 0).outputs[0].buffer;
     },
     "is written twice by one call"},
    {"a call of one op with two outputs", two_operands_at_once, one_shot,
     [](planner::Plan& p) {
       planner::KernelLine& matmul = line<planner::KernelLine>(p, 0);
       matmul.outputs.push_back(matmul.outputs[0]);
     },
     "has another number of outputs than its op"},
    {"a device copy within a place", in_place_and_host, one_shot,
     [](planner::Plan& p) {
       const std::string to = p.buffer(line<planner::DeviceCopyLine>(p, 0).to.buffer).name;
       buffer(p, to).type.place = pool(p, to).place = Place::device;
     },
     "changes the place"},

    // Collectives.
    {"any group synchronises another", two_groups, one_shot,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).spec.end_barrier = false; },
     "the call ends while peers", {0, 3}},
    {"what peers write is overwritten too early", gathered, gathers_by_multicast,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).spec.end_barrier = false; },
     "is written while peers may still be reading it"},
    {"a send with an output", messages, one_shot,
     [](planner::Plan& p) {
       planner::CollectiveLine& send = line<planner::CollectiveLine>(p, 0);
       send.outputs = send.inputs;
     },
     "another number of operands"},
    {"a barrier with an output", messages, one_shot,
     [](planner::Plan& p) {
       planner::CollectiveLine& barrier = line<planner::CollectiveLine>(p, 1);
       barrier.outputs = barrier.inputs;
     },
     "another number of operands"},
    {"a group beyond the world", eight_layers, one_shot,
     [](planner::Plan& p) {
       line<planner::CollectiveLine>(p, 3).spec.group = {{0, 7}};
     },
     "not of ranks of a world of 2"},
    {"a group with a rank twice", eight_layers, one_shot,
     [](planner::Plan& p) {
       line<planner::CollectiveLine>(p, 3).spec.group = {{0, 0}};
     },
     "not of ranks of a world of 2"},

    // Storage and tables.
    {"storage that is another buffer's", two_operands_at_once, one_shot,
     [](planner::Plan& p) { share(p, "buf1", "buf0"); }, "gets storage that is another buffer's"},
    {"storage is reused in another place", in_place_and_host, one_shot,
     [](planner::Plan& p) {
       const BufferId host = line<planner::DeviceCopyLine>(p, 0).to.buffer;
       drop(p, nth<planner::FreeLine>(p, 0));
       p.lines[nth<planner::AllocateLine>(p, 2)].line = planner::ReuseLine{host, named(p, "buf0")};
     },
     "storage of another kind"},
    {"a buffer in a pool of another place", in_place_and_host, one_shot,
     [](planner::Plan& p) { buffer(p, "buf0").type.place = Place::host; }, "a pool of another kind"},
    {"a buffer that reaches outside its pool", two_operands_at_once, one_shot,
     [](planner::Plan& p) { buffer(p, "buf0").offset = Bytes(4); }, "reaches outside its pool"},
    {"a buffer in no pool", two_operands_at_once, one_shot,
     [](planner::Plan& p) { buffer(p, "buf0").pool = {}; }, "lies in no pool"},
    {"a buffer without a size", two_operands_at_once, one_shot,
     [](planner::Plan& p) { buffer(p, "buf0").type.shape = {-4, 8}; }, "has no size"},
    {"two buffers of one name", two_operands_at_once, one_shot,
     [](planner::Plan& p) { buffer(p, "buf1").name = "buf0"; }, "two buffers have this name"},
    {"a call's result has a buffer's name", eight_layers, fallback,
     [](planner::Plan& p) { line<planner::CollectiveLine>(p, 0).call_name = "buf0"; },
     "two buffers have this name"},
    {"a line names a buffer that is not in the table", two_operands_at_once, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 0).inputs[1].buffer = BufferId(1000); },
     "not in the table"},
    {"a free of a buffer that is not in the table", two_operands_at_once, one_shot,
     [](planner::Plan& p) { line<planner::FreeLine>(p, 0).buffer = {}; }, "not in the table"},
    {"an output that is not in the table", two_operands_at_once, one_shot,
     [](planner::Plan& p) { p.outputs[0].value.buffer = BufferId(-3); }, "not in the table"},
    {"an input that is not in the table", two_operands_at_once, one_shot,
     [](planner::Plan& p) { p.inputs[0] = BufferId(1000); }, "not in the table"},
    {"inputs exchanged", cache_update, one_shot,
     [](planner::Plan& p) { std::swap(p.inputs[0], p.inputs[2]); }, "of another number"},
    {"a world that lacks the rank", eight_layers, one_shot, [](planner::Plan& p) { p.world.rank = 2; },
     "not in a world of 2"},
    {"a call with another attribute makes another type", cache_update, one_shot,
     [](planner::Plan& p) { line<planner::KernelLine>(p, 2).spec.attributes.set("keepdim", true); }, "makes"},
};

}  // namespace

TEST_CASE("check_plan refuses every mutant, and says why") {
  for (const Mutant& mutant : kMutants) {
    INFO(mutant.defect);
    planner::Plan plan = planned(mutant.graph(), mutant.policy(), mutant.world);
    REQUIRE(check_plan(plan));
    mutant.plant(plan);  // and not printed: some have ids outside the table, which `print` trusts
    const Status status = check_plan(plan);
    REQUIRE(!status);
    CHECK(status.error().code == Code::PlanInvalid);
    INFO(status.error().message);
    CHECK(status.error().message.find(mutant.message) != std::string::npos);
  }
}

TEST_CASE("check_plan accepts an end barrier left out where a later synchronisation comes first") {
  planner::Plan plan = planned(two_operands_at_once());
  line<planner::CollectiveLine>(plan, 0).spec.end_barrier = false;
  CHECK(check_plan(plan));  // the second collective synchronises the group, and nothing has overwritten buf0
  line<planner::CollectiveLine>(plan, 1).spec.end_barrier = false;
  CHECK_FALSE(check_plan(plan));
}

TEST_CASE("check_plan knows that a message between two is no synchronisation of their group") {
  Program p;
  const Group group{{0, 1}};
  NodeId sum = p.all_reduce(p.op(Op::neg, {p.input(DType::f32, {64})}), group, "one_shot");
  planner::Plan plan =
      planned(p.returning({p.op(Op::send, {sum}, {{"peer", int64_t{1}}, {"group", group}})}));
  REQUIRE(check_plan(plan));
  line<planner::CollectiveLine>(plan, 0).spec.end_barrier = false;
  const Status status = check_plan(plan);
  REQUIRE(!status);
  CHECK(status.error().message.find("the call ends while peers") != std::string::npos);
}

// A plan that is right in itself may still be another program's.
TEST_CASE("check_plan compares what the caller gets with the program") {
  const Graph graph = cache_update();
  const planner::Plan good = planned(graph);
  REQUIRE(check_plan(good, graph));
  auto said = [&](void (*breaks)(planner::Plan&)) {
    planner::Plan plan = good;
    breaks(plan);
    REQUIRE(check_plan(plan));
    const Status status = check_plan(plan, graph);
    REQUIRE_FALSE(status);
    return status.error().message;
  };
  CHECK(said([](planner::Plan& p) {
          p.outputs.pop_back();
          drop(p, nth<planner::KernelLine>(p, 3));
        }) == "the program writes a value back to input 0, and the plan does not");
  CHECK(said([](planner::Plan& p) { std::swap(p.outputs[0], p.outputs[1]); }) ==
        "output 1 of the plan is f32[], and the program's is f32[16,4]");
  CHECK(said([](planner::Plan& p) { p.outputs[0].value.type.view = View::contiguous({4, 16}); }) ==
        "output 1 of the plan is f32[4,16], and the program's is f32[16,4]");
  CHECK(said([](planner::Plan& p) {
          insert(p, p.lines.size(), planner::FreeLine{p.outputs[1].value.buffer});
          p.outputs.erase(p.outputs.begin() + 1);
        }) == "the program returns 2 values, and the plan 1");

  Program p;  // what is written back is the input itself
  NodeId x = p.input(DType::f32, {4});
  p.write_back(p.op(Op::contiguous, {x}), 0);
  const Graph same = p.returning({p.op(Op::exp, {x})});
  CHECK(check_plan(planned(same), same));
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
