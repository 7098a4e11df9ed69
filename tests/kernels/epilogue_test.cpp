// A collective's epilogue gives what the reference interpreter gives for the ops apart, and the bits of the
// calls apart, whatever the algorithm and however it is run.
#include <catch2/catch.hpp>

#include "core/ops/attributes_of.hpp"
#include "tests/support/collective_case.hpp"
#include "tests/support/elements.hpp"
#include "tests/support/random_program.hpp"
#include "tests/support/ranks.hpp"

using namespace peri;
using namespace peri::kernels;
using namespace peri::test;

namespace {

// Which of the two an epilogue has.
struct With {
  bool program, norm;
};

// h = collective(x) + residual + bias, c = h in another dtype; n = rms_norm(h).
Epilogue epilogue_of(DType dtype, With with) {
  Epilogue epilogue;
  const DType other = dtype == DType::f32 ? DType::bf16 : DType::f32;
  if (with.program)
    epilogue.program = {{dtype, dtype, dtype},
                        {{Op::add, {0, 1}, dtype}, {Op::add, {3, 2}, dtype}, {Op::cast, {4}, other}},
                        {4, 5}};
  if (with.norm) epilogue.rms_norm_eps = 1e-3;
  return epilogue;
}

Result<Graph> ops_apart(const CollectiveSpec& spec, const TensorType& x, With with) {
  CollectiveSpec plain = spec;
  plain.epilogue = {};
  const TensorType made = PERI_TRY(infer(plain, x));
  const int64_t width = made.shape[made.shape.rank() - 1];
  Graph graph;
  int64_t inputs = 0;
  auto input = [&](const TensorType& type) {
    return graph.add(
        Op::input, {},
        {{"index", inputs++}, {"dtype", type.dtype}, {"shape", Ints(type.shape.begin(), type.shape.end())}},
        {});
  };
  NodeId h = PERI_TRY(input(x));
  h = PERI_TRY(graph.add(spec.op, {h}, attributes_of(plain), {}));
  std::vector<Output> outputs;
  if (with.program) {
    for (const TensorType& type : {made, TensorType{made.dtype, {width}}}) {
      const NodeId term = PERI_TRY(input(type));
      h = PERI_TRY(graph.add(Op::add, {h, term}, {}, {}));
    }
    const DType other = spec.epilogue.program.instructions.back().dtype;
    const NodeId cast = PERI_TRY(graph.add(Op::cast, {h}, AttributesOf<Op::cast>{.dtype = other}, {}));
    outputs = {{h}, {cast}};
  } else {
    outputs = {{h}};
  }
  if (with.norm) {
    const NodeId scale = PERI_TRY(input({made.dtype, {width}}));
    const AttributesOf<Op::rms_norm> attributes{.eps = *spec.epilogue.rms_norm_eps};
    const NodeId norm = PERI_TRY(graph.add(Op::rms_norm, {h, scale}, attributes, {}));
    outputs.push_back({norm});
  }
  graph.set_outputs(outputs);
  return graph;
}

// One rank's tensors, and the call on them.
struct Call {
  CollectiveSpec spec;
  std::vector<Tensor> tensors;
  std::vector<Operand> inputs, outputs;
  size_t results;  // of the tensors, the last ones
};

Result<Tensor> make(Backend& backend, const TensorType& type, const Group* symmetric) {
  std::shared_ptr<Storage> storage = symmetric
                                         ? PERI_TRY(backend.allocate_symmetric(type.bytes(), *symmetric))
                                         : PERI_TRY(backend.allocate(type.bytes(), Place::device));
  return Tensor{std::move(storage), type, View::contiguous(type.shape)};
}

Result<Call> make_call(Backend& backend, const CollectiveSpec& spec, const Graph& graph) {
  Call call{spec, {}, {}, {}, graph.outputs().size()};
  const SymmetricOperand shared = spec.algorithm->symmetric;
  for (NodeId id : graph.inputs())
    call.tensors.push_back(PERI_TRY(make(backend, graph.node(id).type,
                                         shared == kInput && call.tensors.empty() ? &spec.group : nullptr)));
  for (const Tensor& tensor : call.tensors) call.inputs.push_back(operand_of(tensor));
  for (const Output& output : graph.outputs()) {
    call.tensors.push_back(PERI_TRY(make(backend, graph.node(output.value).type,
                                         shared == kOutput && call.outputs.empty() ? &spec.group : nullptr)));
    call.outputs.push_back(operand_of(call.tensors.back()));
  }
  if (call.inputs.size() > 2 && !spec.epilogue.program.instructions.empty()) {  // the bias, for every row
    View& view = call.inputs[2].type.view;
    view = {call.outputs[0].type.view.shape, {0, 1}, {}};
  }
  return call;
}

Status fill(Backend& backend, const Call& call, const Arguments& arguments) {
  for (size_t i = 0; i < arguments.inputs.size(); ++i)
    PERI_TRY(testing::write_tensor(backend, call.tensors[i], arguments.inputs[i]));
  for (size_t i = arguments.inputs.size(); i < call.tensors.size(); ++i)
    PERI_TRY(testing::write_tensor(backend, call.tensors[i], zeros(call.tensors[i].type)));
  return {};
}

Result<std::vector<std::string>> results_of(Backend& backend, const Call& call) {
  std::vector<std::string> bits;
  for (size_t i = call.tensors.size() - call.results; i < call.tensors.size(); ++i)
    bits.push_back(PERI_TRY(testing::bytes_of(backend, call.tensors[i])));
  return bits;
}

// The collective to memory of its own, and then the kernels.
Status run_apart(Backend& backend, const Call& call) {
  const Epilogue& epilogue = call.spec.epilogue;
  CollectiveSpec plain = call.spec;
  plain.epilogue = {};
  const Tensor& first = call.tensors[call.inputs.size()];
  const Tensor made =
      PERI_TRY(make(backend, first.type, plain.algorithm->symmetric == kOutput ? &plain.group : nullptr));
  const Operand collected = operand_of(made);
  PERI_TRY(backend.collective(plain, {call.inputs.data(), 1}, {&collected, 1}));
  if (epilogue.program.instructions.empty()) {
    PERI_TRY(backend.copy(collected, call.outputs[0]));
  } else {
    KernelSpec program;
    program.fused = epilogue.program;
    const Operand inputs[] = {collected, call.inputs[1], call.inputs[2]};
    PERI_TRY(backend.launch(program, inputs, std::span(call.outputs).first(2)));
  }
  if (!epilogue.rms_norm_eps) return backend.synchronize();
  const Operand normalised[] = {call.outputs[0], call.inputs.back()};
  const KernelSpec norm{Op::rms_norm, AttributesOf<Op::rms_norm>{.eps = *epilogue.rms_norm_eps}, {}};
  PERI_TRY(backend.launch(norm, normalised, std::span(call.outputs).last(1)));
  return backend.synchronize();
}

// A recording that is replayed as it is, and, where recordings follow blocks, with the residual and the last
// output elsewhere. The tensors are what they were before.
Status run_recorded(Backend& backend, Call& call) {
  CollectiveStep step{call.spec, call.inputs, call.outputs};
  std::vector<std::byte*> blocks = {step.inputs.back().data, step.outputs.back().data};
  if (backend.follows_blocks()) {
    step.inputs.back().block = 0;
    step.outputs.back().block = 1;
  }
  const std::vector<ProgramStep> steps = {step};
  const auto recording = PERI_TRY(backend.prepare(steps, Marks::between_steps));
  if (recording->step_count() != 1 || recording->marks().size() != 2)
    return fail(Code::InvalidArgument, "a recording of other steps");
  if (!backend.follows_blocks()) return backend.replay(*recording);
  Tensor &input = call.tensors[call.inputs.size() - 1], &output = call.tensors.back();
  const Tensor moved = PERI_TRY(make(backend, input.type, nullptr));
  PERI_TRY(backend.copy(operand_of(input), operand_of(moved)));
  PERI_TRY(testing::write_tensor(backend, input, zeros(input.type)));
  input = moved;
  output = PERI_TRY(make(backend, output.type, nullptr));
  blocks = {input.data(), output.data()};
  call.inputs.back().data = blocks[0];
  call.outputs.back().data = blocks[1];
  recording->move(blocks);
  return backend.replay(*recording);
}

struct Trial {
  const AlgorithmInfo* algorithm;
  DType dtype;
  With with;
  uint64_t seed;
};

// "" or what is wrong.
Result<std::string> check(Backend& backend, const Trial& c) {
  const int world = backend.job().world_size, rank = backend.job().rank;
  CollectiveSpec spec{.op = c.algorithm->op,
                      .algorithm = c.algorithm,
                      .group = world_group(world),
                      .epilogue = epilogue_of(c.dtype, c.with),
                      .origin = {"case.lua", 1}};
  spec.end_barrier = c.algorithm->end_barrier;
  const TensorType x{c.dtype, {6, 10}};
  const Graph graph = PERI_TRY(ops_apart(spec, x, c.with));
  std::vector<Arguments> arguments;
  for (int r = 0; r < world; ++r) arguments.push_back(testing::random_arguments(graph, c.seed, r));
  const testing::Expected expected = PERI_TRY(testing::expect(graph, arguments));
  Call call = PERI_TRY(make_call(backend, spec, graph));
  auto prepared = [&] { return fill(backend, call, arguments[static_cast<size_t>(rank)]); };

  PERI_TRY(prepared());
  PERI_TRY(run_apart(backend, call));
  const std::vector<std::string> apart = PERI_TRY(results_of(backend, call));
  PERI_TRY(prepared());
  PERI_TRY(backend.collective(spec, call.inputs, call.outputs));
  PERI_TRY(backend.synchronize());
  const bool same_bits = c.algorithm->algorithm != Algorithm::nccl;
  if (same_bits && PERI_TRY(results_of(backend, call)) != apart) return "other bits than the calls apart";
  for (size_t i = 0; i < call.results; ++i) {
    const Value got = PERI_TRY(testing::read_tensor(backend, call.tensors[call.inputs.size() + i]));
    if (std::string wrong = testing::difference(got, expected, static_cast<size_t>(rank), i); !wrong.empty())
      return wrong;
  }
  PERI_TRY(prepared());
  PERI_TRY(run_recorded(backend, call));
  PERI_TRY(backend.synchronize());
  if (same_bits && PERI_TRY(results_of(backend, call)) != apart) return "other bits when replayed";
  return "";
}

}  // namespace

TEST_CASE("an epilogue gives what the ops apart give, by every algorithm") {
  const int world = GENERATE(1, 2, 3);
  auto body = [](Backend& backend) -> std::string {
    Mistakes mistakes;
    uint64_t seed = 0;
    for (const AlgorithmInfo& row : algorithms()) {
      const CollectiveInfo& info = collective_info(row.op);
      if (info.inputs != 1 || info.outputs != 1 || !offers(backend, row)) continue;
      for (DType dtype : {DType::f32, DType::bf16, DType::f16})
        for (With with : {With{true, true}, With{true, false}, With{false, true}}) {
          const Result<std::string> wrong = check(backend, {&row, dtype, with, ++seed});
          const std::string text = wrong ? *wrong : wrong.error().to_string();
          if (!text.empty())
            mistakes.note(fmt::format("{} {} {}, program {}, norm {}: {}", to_string(row.op), row.name,
                                      to_string(dtype), with.program, with.norm, text));
        }
    }
    return mistakes.text();
  };
  check_well(run_ranks(job_options(world), body));
}

TEST_CASE("an epilogue may work where its collective's operand lay, if the call has its end barrier") {
  auto body = [](Backend& backend) -> std::string {
    const Group world = world_group(2);
    CollectiveSpec spec{.op = Op::all_reduce,
                        .algorithm = find_algorithm(Op::all_reduce, Algorithm::two_shot),
                        .group = world,
                        .epilogue = {{{DType::f32}, {{Op::add, {0, 0}, DType::f32}}, {1}}, {}},
                        .origin = {"case.lua", 1}};
    auto x = make(backend, {DType::f32, {8}}, &world);
    if (!x) return x.error().to_string();
    Value ones = zeros(x->type);
    for (double& element : std::get<Value::Floats>(ones.elements)) element = backend.job().rank + 1;
    if (Status s = testing::write_tensor(backend, *x, ones); !s) return s.error().to_string();
    const Operand operand = operand_of(*x);
    if (Status s = backend.collective(spec, {&operand, 1}, {&operand, 1}); !s) return s.error().to_string();
    const Result<Value> got = testing::read_tensor(backend, *x);
    if (!got) return got.error().to_string();
    if (got->floats() != Value::Floats(8, 6.0)) return "not twice the sum";  // 2 (1 + 2)
    spec.end_barrier = false;
    const Status refused = backend.collective(spec, {&operand, 1}, {&operand, 1});
    return refused ? "not refused" : refused.error().to_string();
  };
  for (const RankResult& rank : run_ranks(job_options(2), body))
    CHECK(rank.text ==
          "case.lua:1: all_reduce: its epilogue overwrites what peers may still be reading: it needs the end "
          "barrier");
}

TEST_CASE("an epilogue that its operands do not suit is refused before anybody waits") {
  auto body = [](Backend& backend) -> std::string {
    Mistakes mistakes;
    CollectiveSpec spec{.op = Op::all_reduce,
                        .algorithm = find_algorithm(Op::all_reduce, Algorithm::ll),
                        .group = world_group(2),
                        .epilogue = {{}, 1e-5},
                        .origin = {"case.lua", 1}};
    auto memory = backend.allocate(Bytes(4096), Place::device);
    auto operand = [&](Shape shape, DType dtype = DType::f32) {
      return Operand{(*memory)->data(), {dtype, View::contiguous(shape)}};
    };
    auto refused = [&](std::vector<Operand> inputs, std::vector<Operand> outputs, const char* words) {
      const std::vector<ProgramStep> steps = {CollectiveStep{spec, inputs, outputs}};
      const auto recording = backend.prepare(steps, Marks::none);
      const Status now = backend.collective(spec, inputs, outputs);
      const std::string text = now ? "" : now.error().to_string();
      if (text.find(words) == text.npos) mistakes.note(fmt::format("not \"{}\" but \"{}\"", words, text));
      if (recording || recording.error().to_string() != text) mistakes.note("recorded otherwise than run");
    };
    const Operand x = operand({4, 8}), scale = operand({8});
    refused({x}, {x, x}, "case.lua:1: all_reduce: it takes 2 inputs, not 1");
    refused({x, scale}, {x}, "it gives 2 outputs, not 1");
    refused({x, operand({4})}, {x, x}, "all_reduce: its epilogue: ");
    refused({x, scale}, {x, operand({4, 8}, DType::bf16)}, "output 2 is f32[4,8], and bf16[4,8] was given");
    spec.epilogue = {{{DType::f32}, {{Op::softmax, {0}, DType::f32}}, {1}}, {}};
    refused({x}, {x}, "softmax is not pointwise");
    spec.op = Op::barrier;
    spec.algorithm = find_algorithm(Op::barrier, Algorithm::ll);
    refused({x}, {x}, "barrier: it has no result for an epilogue");
    return mistakes.text();
  };
  check_well(run_ranks(job_options(2), body));
}
