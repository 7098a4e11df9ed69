// What single passes do: ownership of outputs, fusion, writes to inputs, capture verdicts, the pipeline's
// names, the Lua text.
#include <cmath>
#include <set>

#include "planner/check/stage.hpp"
#include "tests/planner/programs.hpp"

namespace peri::test {
namespace {

std::vector<planner::KernelLine> kernels(const planner::Plan& plan) {
  std::vector<planner::KernelLine> found;
  for (const planner::PlanLine& line : plan.lines)
    if (const auto* kernel = std::get_if<planner::KernelLine>(&line.line)) found.push_back(*kernel);
  return found;
}
std::vector<std::string> names(const planner::Plan& plan) {
  std::vector<std::string> found;
  for (const planner::KernelLine& kernel : kernels(plan)) found.push_back(kernel.spec.name());
  return found;
}
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("what is returned is the plan's own, each in a buffer of its own") {
  Program p;
  NodeId x = p.input(DType::f32, {4, 8}), c = p.constant(DType::f32, {2}), a = p.op(Op::exp, {x});
  const planner::Plan plan =
      planned(p.returning({x, c, a, a, p.op(Op::permute, {a}, {{"dims", Ints{1, 0}}}), p.slice(a, 0, 0, 2)}));
  std::set<int> buffers;
  for (const planner::PlanOutput& output : plan.outputs) {
    CHECK(plan.buffer(output.value.buffer).kind == planner::BufferKind::regular);
    buffers.insert(output.value.buffer.index);
  }
  CHECK(buffers.size() == 6);
  CHECK(names(plan) == Names{"exp", "contiguous", "contiguous", "contiguous", "contiguous", "contiguous"});

  Program q;  // a permutation of a buffer that is not returned otherwise needs no copy
  const planner::Plan permuted = planned(q.returning(
      {q.op(Op::permute, {q.op(Op::exp, {q.input(DType::f32, {4, 8})})}, {{"dims", Ints{1, 0}}})}));
  CHECK(names(permuted) == Names{"exp"});
  CHECK(permuted.outputs[0].value.type.view == View{{8, 4}, {1, 8}, {}});
}

TEST_CASE("what is written twice is computed once") {
  Program p;
  const NodeId x = p.input(DType::f32, {4, 4}), w = p.constant(DType::f32, {4, 4});
  auto layer = [&] { return p.op(Op::add, {p.op(Op::matmul, {x, w}), p.full(DType::f32, {}, 0.5)}); };
  const NodeId a = layer(), b = layer(), c = p.op(Op::matmul, {x, w});  // lines 1 to 3, 4 to 6, 7
  const Graph graph = p.returning({p.op(Op::softmax, {a}), p.op(Op::neg, {b}), p.op(Op::exp, {c})});
  const planner::Plan plan = planned(graph);
  const Names shared = names(plan);
  CHECK(std::ranges::count(shared, "matmul") == 1);
  REQUIRE(!plan.decisions.empty());
  CHECK(explain(plan).find("matmul at model.lua:1  computed once: 3 x in the program, also at model.lua:4, "
                           "model.lua:7\n") != std::string::npos);
  planner::Policy policy;
  policy.skip = {"common_subexpressions"};
  CHECK(std::ranges::count(names(planned(graph, policy)), "matmul") == 3);
}

TEST_CASE("equal tensors that are changed separately have memory of their own") {
  Program p;
  const NodeId at = p.input(DType::i64, {1}), row = p.input(DType::f32, {1, 4}),
               other = p.input(DType::f32, {1, 4});
  auto cache = [&](NodeId value) {
    return p.op(Op::index_copy, {p.full(DType::f32, {8, 4}, 0), at, value}, {{"dim", int64_t{0}}});
  };
  const NodeId first = cache(row), second = cache(other), third = cache(row);
  const planner::Plan plan = planned(p.returning({first, second, third}));
  CHECK(names(plan) == Names{"full", "index_copy", "full", "index_copy", "contiguous"});
}

TEST_CASE("a reshape that cannot share storage copies first") {
  Program p;
  NodeId a = p.op(Op::permute, {p.input(DType::f32, {4, 8})}, {{"dims", Ints{1, 0}}});
  CHECK(names(planned(p.returning({p.op(Op::exp, {p.reshape(a, {32})})}))) == Names{"contiguous", "exp"});
}

TEST_CASE("fusion") {
  Program p;
  NodeId x = p.input(DType::f32, {4, 8}), row = p.input(DType::f32, {8});
  SECTION("producers, broadcast operands and immediates go into one call") {
    NodeId t = p.op(Op::mul, {p.op(Op::add, {x, row}), p.full(DType::f32, {}, 0.5)});
    const planner::Plan plan = planned(p.returning({p.op(Op::mul, {t, p.op(Op::sigmoid, {t})})}));
    REQUIRE(names(plan) == Names{"fused_add_mul_sigmoid_mul"});
    const planner::KernelLine kernel = kernels(plan)[0];
    CHECK(kernel.inputs.size() == 2);
    CHECK(kernel.inputs[1].type.view == View{{4, 8}, {0, 1}, {}});
    CHECK(kernel.spec.fused.to_string() ==
          "(f32, f32) r2 = add(r0, r1) : f32; r3 = full(0.5) : f32; r4 = mul(r2, r3) : f32; r5 = sigmoid(r4) "
          ": f32; r6 = mul(r4, r5) : f32 -> r6");
  }
  SECTION("a producer read through another window stays, though the shapes agree") {
    NodeId a = p.op(Op::exp, {p.input(DType::f32, {8, 8})});
    NodeId t = p.op(Op::permute, {a}, {{"dims", Ints{1, 0}}});
    CHECK(names(planned(p.returning({p.op(Op::neg, {t})}))) == Names{"exp", "neg"});
  }
  SECTION("a value that other work needs is a second result of the call") {
    NodeId a = p.op(Op::exp, {x}), b = p.op(Op::neg, {a});
    const planner::Plan plan = planned(p.returning({p.op(Op::softmax, {a}), b}));
    CHECK(names(plan) == Names{"fused_exp_neg", "softmax"});
    CHECK(kernels(plan)[0].outputs.size() == 2);
  }
  SECTION("siblings with other work between them stay apart") {
    NodeId a = p.op(Op::exp, {x}), s = p.op(Op::softmax, {a}), b = p.op(Op::neg, {x});
    CHECK(names(planned(p.returning({p.op(Op::sum, {s}), b}))) == Names{"exp", "softmax", "neg", "sum"});
  }
  SECTION("no cycle: a value that is needed to make an operand is not computed after it") {
    NodeId a = p.op(Op::exp, {x}), s = p.op(Op::softmax, {a});
    CHECK(names(planned(p.returning({p.op(Op::add, {a, s})}))) == Names{"exp", "softmax", "add"});
  }
  SECTION("nothing moves past an effect") {
    NodeId a = p.op(Op::exp, {x});
    NodeId b = p.op(Op::barrier, {row}, {{"group", Group{{0, 1}}}});
    CHECK(names(planned(p.returning({p.op(Op::add, {a, b})}))) == Names{"exp", "add"});
  }
  SECTION("off by policy") {
    planner::Policy policy;
    policy.skip = {"fuse"};
    CHECK(names(planned(
              p.returning({p.op(Op::neg, {p.op(Op::exp, {p.op(Op::add, {x, p.full(DType::f32, {}, 1)})})})}),
              policy)) == Names{"full", "add", "exp", "neg"});
  }
}

TEST_CASE("a dead operand's storage is reused by the call that reads it last, element by element only") {
  Program p;
  NodeId a = p.op(Op::softmax, {p.input(DType::f32, {8, 8})});
  auto stats = statistics(planned(p.returning({p.op(Op::exp, {a})})));
  CHECK(stats["intermediate_buffers"] == 1);
  CHECK(stats["reuses"] == 1);
  CHECK(stats["peak_bytes"] == 256);
  CHECK(stats["lower_bound_bytes"] == 256);
  Program q;
  NodeId b = q.op(Op::softmax, {q.input(DType::f32, {8, 8})});
  CHECK(statistics(planned(q.returning({q.op(
            Op::exp, {q.op(Op::permute, {b}, {{"dims", Ints{1, 0}}})})})))["intermediate_buffers"] == 2);
}

TEST_CASE("changes through views") {
  Program p;
  const NodeId cache = p.input(DType::f32, {3, 8, 4}), position = p.input(DType::i64, {2}),
               rows = p.input(DType::f32, {2, 4});
  const auto changed = [&](NodeId base, int64_t layer) {
    const NodeId view = p.reshape(p.slice(base, 0, layer, layer + 1), {8, 4});
    return p.op(Op::window_copy,
                {base, view, p.op(Op::index_copy, {view, position, rows}, {{"dim", int64_t{0}}})});
  };
  const NodeId first = changed(cache, 0), second = changed(first, 2);
  SECTION("of an input that is written back: each made where it belongs, and no copy") {
    p.write_back(second, 0);
    const planner::Plan plan = planned(p.returning({p.op(Op::sum, {second})}));
    CHECK(names(plan) == Names{"index_copy", "index_copy", "sum"});
    for (int32_t i : {0, 1}) {
      const planner::PlanOperand out = kernels(plan)[i].outputs[0];
      CHECK(out.buffer == plan.inputs[0]);
      CHECK(out.version == i + 1);
      CHECK(out.type.view.offset == Elements(i * 64));
      CHECK((kernels(plan)[i].inputs[0].type == out.type));
    }
    CHECK(statistics(plan)["device_allocs"] == 1);  // the sum
  }
  SECTION("of an input that keeps its value: one copy for all of them") {
    CHECK(names(planned(p.returning({second}))) == Names{"contiguous", "index_copy", "index_copy"});
  }
  SECTION("with the old value read again: a copy for each") {
    p.write_back(second, 0);
    CHECK(names(planned(p.returning({p.op(Op::sum, {first}), p.op(Op::sum, {cache})}))) ==
          Names{"contiguous", "index_copy", "contiguous", "index_copy", "sum", "sum", "contiguous"});
  }
  SECTION("what is read of the tensor itself goes through a copy where it overlaps") {
    Program q;
    const NodeId x = q.input(DType::f32, {6, 2});
    q.write_back(q.op(Op::window_copy, {x, q.slice(x, 0, 1, 6), q.slice(x, 0, 0, 5)}), 0);
    const planner::Plan plan = planned(q.returning({}));
    CHECK(names(plan) == Names{"contiguous", "contiguous"});
    CHECK(kernels(plan)[0].outputs[0].buffer == kernels(plan)[1].inputs[0].buffer);
    CHECK(kernels(plan)[1].outputs[0].buffer == plan.inputs[0]);
  }
  SECTION("a call that reads what it would overwrite elsewhere works on a copy") {
    Program q;
    const NodeId x = q.input(DType::f32, {6, 2}), view = q.slice(x, 0, 1, 6);
    q.write_back(q.op(Op::window_copy, {x, view, q.op(Op::add, {view, q.slice(x, 0, 0, 5)})}), 0);
    CHECK(names(planned(q.returning({}))) == Names{"contiguous", "add", "contiguous"});
  }
  SECTION("a call that reads rows beside those that it overwrites works in place") {
    Program q;
    const NodeId x = q.input(DType::f32, {6, 2}), view = q.slice(x, 0, 0, 3);
    q.write_back(q.op(Op::window_copy, {x, view, q.op(Op::add, {view, q.slice(x, 0, 3, 6)})}), 0);
    CHECK(names(planned(q.returning({}))) == Names{"add"});
  }
  SECTION("an index_copy whose source overlaps works on a copy") {
    Program q;
    const NodeId x = q.input(DType::f32, {6, 2}), at = q.input(DType::i64, {2}), view = q.slice(x, 0, 1, 6);
    const NodeId made = q.op(Op::index_copy, {view, at, q.slice(x, 0, 0, 2)}, {{"dim", int64_t{0}}});
    q.write_back(q.op(Op::window_copy, {x, view, made}), 0);
    CHECK(names(planned(q.returning({}))) == Names{"contiguous", "index_copy", "contiguous"});
  }
  SECTION("not through what is no view of the tensor") {
    Program q;
    const NodeId x = q.input(DType::f32, {4, 2}), y = q.input(DType::f32, {4, 2});
    const NodeId wrong = q.op(Op::window_copy, {x, q.slice(y, 0, 0, 1), q.slice(y, 0, 1, 2)});
    const Status refused = verify(q.returning({wrong}));
    REQUIRE(!refused);
    CHECK(refused.error().message == "%4 (window_copy): the second operand is no view of the first");
  }
}

TEST_CASE("values written back to inputs") {
  Program p;
  NodeId cache = p.input(DType::f32, {16, 4}), position = p.input(DType::i64, {1}),
         row = p.input(DType::f32, {1, 4});
  NodeId next = p.op(Op::index_copy, {cache, position, row}, {{"dim", int64_t{0}}});
  p.write_back(next, 0);
  SECTION("in place where the old value is not read again: no buffer, no copy of the cache") {
    const planner::Plan plan = planned(p.returning({p.op(Op::softmax, {next})}));
    CHECK(names(plan) == Names{"index_copy", "softmax"});
    CHECK(kernels(plan)[0].outputs[0].buffer == plan.inputs[0]);
    CHECK(kernels(plan)[1].inputs[0].buffer == plan.inputs[0]);
  }
  SECTION("copied where the old value is read again") {
    CHECK(names(planned(p.returning({p.op(Op::softmax, {next}), p.op(Op::sum, {cache})}))) ==
          Names{"index_copy", "softmax", "sum", "contiguous"});
  }
  SECTION("copied where the value is returned too") {
    CHECK(names(planned(p.returning({next}))) == Names{"index_copy", "contiguous"});
  }
  SECTION("two inputs exchanged") {
    Program q;
    NodeId x = q.input(DType::f32, {4}), y = q.input(DType::f32, {4});
    q.write_back(y, 0);
    q.write_back(x, 1);
    const planner::Plan plan = planned(q.returning({}));
    CHECK(names(plan) == Names{"contiguous", "contiguous", "contiguous"});  // t = y; y = x; x = t
  }
}

TEST_CASE("what cannot be captured") {
  Program p;
  NodeId x = p.op(Op::softmax, {p.input(DType::f32, {4})});
  NodeId h = p.op(Op::copy_to, {x}, {{"place", Place::host}});
  NodeId d = p.op(Op::copy_to, {h}, {{"place", Place::device}});
  planner::Policy policy;
  policy.split = [](const planner::OpContext& op) -> Result<bool> { return op.op == Op::sum; };
  const planner::Plan plan = planned(p.returning({p.op(Op::sum, {p.op(Op::softmax, {d})})}), policy);
  for (const planner::PlanLine& line : plan.lines) {
    const auto* kernel = std::get_if<planner::KernelLine>(&line.line);
    if (kernel) CHECK(line.captured == (kernel->spec.op == Op::softmax && !kernel->spec.is_fused()));
    if (std::holds_alternative<planner::DeviceCopyLine>(line.line)) CHECK_FALSE(line.captured);
  }
  // The write to the caller's tensor is captured, so what is not captured does not do it.
  Program q;
  q.input(DType::f32, {4});
  q.write_back(q.op(Op::softmax, {q.input(DType::f32, {4})}), 0);
  policy.split = [](const planner::OpContext& op) -> Result<bool> { return op.op == Op::softmax; };
  CHECK(names(planned(q.returning({}), policy)) == Names{"softmax", "contiguous"});
}

TEST_CASE("messages: send and barrier hand their operand on, recv reads nothing") {
  Program p;
  Group group{{0, 1}};
  NodeId x = p.op(Op::softmax, {p.input(DType::f32, {4})});
  NodeId s = p.op(Op::send, {x}, {{"peer", int64_t{1}}, {"group", group}}),
         r = p.op(Op::recv, {s}, {{"peer", int64_t{1}}, {"group", group}});
  const planner::Plan plan = planned(p.returning({r}));
  const std::string text = code(plan);
  CHECK(text.find("rt.send(buf0, {peer = 1, group = {0, 1}, algorithm = \"ll\"})") != std::string::npos);
  CHECK(text.find("rt.recv_out(buf1, {peer = 1, group = {0, 1}, algorithm = \"ll\"})") != std::string::npos);
  CHECK(agreement_text(plan).find("peer") == std::string::npos);
}

TEST_CASE("passes are named, shown and skipped") {
  std::vector<std::string> shown;
  const Graph graph = eight_layers();
  REQUIRE(planner::plan(graph, {0, 2}, {}, [&](const std::string& pass, const std::string& text) {
    shown.push_back(pass);
    CHECK_FALSE(text.empty());
  }));
  shown.push_back("check");  // shows nothing
  CHECK(shown == planner::pass_names());
  planner::Policy policy;
  policy.skip = {"fus"};
  CHECK(plan(graph, {0, 2}, policy).error().to_string() ==
        "no pass is named \"fus\"\n   hint: did you mean \"fuse\"?");
  policy.skip = {"memory"};
  CHECK(plan(graph, {0, 2}, policy).error().code == Code::InvalidArgument);
}

TEST_CASE("the pass that broke a plan is named") {
  auto said = [](void (*breaks)(planner::Plan&)) {
    planner::Plan plan = planned(two_operands_at_once());
    REQUIRE(check_stage(plan, "memory", planner::Buffers::stored));
    breaks(plan);
    const Status status = check_stage(plan, "memory", planner::Buffers::stored);
    REQUIRE_FALSE(status);
    CHECK(status.error().code == Code::PlanInvalid);
    return status.error().message;
  };
  CHECK(said([](planner::Plan& p) { p.lines.erase(p.lines.begin() + 1); }) ==
        "pass memory: line 5 reads buf0 before anything wrote it");
  CHECK(said([](planner::Plan& p) { p.lines.erase(p.lines.begin()); }) ==
        "pass memory: line 1 writes buf0, which has no storage");
  CHECK(said([](planner::Plan& p) { p.outputs[0].value.buffer = BufferId(77); }) ==
        "pass memory: an output reads a buffer that is not in the table");
  CHECK(said(+[](planner::Plan& p) {
          std::get<planner::KernelLine>(p.lines[1].line).inputs[0].type.view.offset = Elements(1);
        }) == "pass memory: line 2 reads outside arg0");
}

TEST_CASE("the Lua text is exact") {
  Program p;
  NodeId x = p.input(DType::f32, {2, 4});
  NodeId y = p.op(Op::sum, {p.op(Op::mul, {x, p.full(DType::f32, {}, 0.1)})}, {{"dims", Ints{1}}});
  for (double value : {double(INFINITY), -double(INFINITY), -0.0})
    y = p.op(Op::maximum, {y, p.full(DType::f32, {}, value)});
  const std::string text = code(planned(p.returning(
      {p.op(Op::softmax, {p.slice(p.op(Op::layer_norm, {x, p.input(DType::f32, {4})}), 1, 1, 3)}), y})));
  CHECK(text.find("{operands = {\"f32\"}, \"full f32 0.1\", \"mul f32 1 2\", results = {3}}") !=
        std::string::npos);
  CHECK(text.find("\"full f32 inf\"") != std::string::npos);
  CHECK(text.find("\"full f32 -inf\"") != std::string::npos);
  CHECK(text.find("\"full f32 -0\"") != std::string::npos);
  CHECK(text.find("_out(rt.view(buf3, {2, 2}, {4, 1}, 1), ") != std::string::npos);
  CHECK(text.find("{eps = 1e-05}") != std::string::npos);
  CHECK(text.find("{dims = {2}, keepdim = false}") != std::string::npos);
}

TEST_CASE("large plans stay within LuaJIT's limits") {
  Program p;
  NodeId x = p.input(DType::f32, {4, 4});
  for (int i = 0; i < 3000; ++i) x = p.op(Op::softmax, {x});
  const std::string text = code(planned(p.returning({x})));
  CHECK(text.find("local buf") == std::string::npos);
  CHECK(text.find("b[2999] = rt.reuse(b[2997]") != std::string::npos);
  CHECK(text.find("parts[7]") != std::string::npos);
  CHECK(text.find("parts[8]") == std::string::npos);
}

}  // namespace peri::test
