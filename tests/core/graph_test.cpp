// The graph: adding, users, order, dead code, verification, errors with origins.
#include <catch2/catch.hpp>

#include <algorithm>

#include "core/ops/attributes_of.hpp"
#include "core/store.hpp"
#include "tests/core/random_graph.hpp"
#include "tests/core/types.hpp"

using namespace peri;

namespace {

NodeId input(Graph& graph, Shape shape, DType dtype = DType::f32) {
  const int64_t index = static_cast<int64_t>(graph.inputs().size());
  return *graph.add(Op::input, {},
                    {{"index", index}, {"dtype", dtype}, {"shape", Ints(shape.begin(), shape.end())}},
                    {"m.lua", graph.size() + 1}, "x" + std::to_string(index));
}

NodeId add(Graph& graph, Op op, std::vector<NodeId> operands, Attributes attributes = {}) {
  return *graph.add(op, std::move(operands), std::move(attributes), {"m.lua", graph.size() + 1});
}

}  // namespace

TEST_CASE("a graph keeps operands, types and users") {
  Graph graph;
  const NodeId x = input(graph, {2, 3}), y = input(graph, {3});
  const NodeId sum = add(graph, Op::add, {x, y});
  const NodeId square = add(graph, Op::mul, {sum, sum});
  const NodeId last = add(graph, Op::add, {square, x});
  CHECK(graph.node(sum).type == f32({2, 3}));
  CHECK(graph.node(square).operands == std::vector{sum, sum});
  CHECK(graph.users(x) == std::vector{sum, last});
  CHECK(graph.users(sum) == std::vector{square});  // once, though used twice
  CHECK(graph.users(last).empty());
  CHECK(graph.inputs() == std::vector{x, y});
  CHECK(graph.topological_order() == std::vector{x, y, sum, square, last});
}

TEST_CASE("a copy is equal and independent") {
  Graph graph;
  const NodeId x = input(graph, {2});
  Graph copy = graph;
  CHECK(copy == graph);
  add(copy, Op::neg, {x});
  CHECK(graph.users(x).empty());
  CHECK(!(copy == graph));
  Graph other;
  input(other, {2});
  other.set_outputs({{NodeId(0)}});
  CHECK(!(other == graph));
}

TEST_CASE("a node stays where it is while others are added") {
  Graph graph;
  const NodeId x = input(graph, {2});
  const Node* node = &graph.node(x);
  for (int i = 0; i < 1000; ++i) add(graph, Op::neg, {x});
  CHECK(node == &graph.node(x));
  CHECK(graph.users(x).size() == 1000);
}

TEST_CASE("sources are listed by their index, not by creation") {
  Graph graph;
  for (int64_t index : {2, 0, 1})
    REQUIRE(graph.add(Op::input, {}, {{"index", index}, {"dtype", DType::f32}, {"shape", Ints{}}}, {}));
  CHECK(graph.inputs() == std::vector{NodeId(1), NodeId(2), NodeId(0)});
  CHECK(graph.constants().empty());
}

TEST_CASE("a refused operation names its line and its operands' lines, and leaves the graph alone") {
  Graph graph;
  const NodeId x = input(graph, {64, 512}, DType::bf16), w = input(graph, {1024, 8}, DType::bf16);
  const NodeId y = add(graph, Op::neg, {w});
  Result<NodeId> result = graph.add(Op::matmul, {x, y}, {}, {"train.lua", 41});
  REQUIRE(!result);
  CHECK(result.error().code == Code::ShapeMismatch);
  CHECK(result.error().to_string() ==
        "train.lua:41: matmul: inner dimensions differ: 512 (dim 2 of a) and 1024 (dim 1 of b)\n"
        "   a = x0 : bf16[64,512]   made at m.lua:1\n"
        "   b : bf16[1024,8]   made at m.lua:3");
  CHECK(graph.size() == 3);
  CHECK(graph.users(x).empty());
  CHECK(message(graph.add(Op::linear, {x, x}, {}, {})) ==
        "linear: a graph does not hold composite operations; add what it decomposes into");
}

TEST_CASE("dead code goes; inputs, constants and effects stay") {
  Graph graph;
  const NodeId x = input(graph, {2}), unused = input(graph, {3});
  const NodeId dead = add(graph, Op::neg, {x});
  add(graph, Op::exp, {dead});
  const NodeId live = add(graph, Op::abs, {x});
  const NodeId sent = add(graph, Op::sqrt, {x});
  add(graph, Op::send, {sent}, {{"peer", int64_t{1}}, {"group", world_group(2)}});
  add(graph, Op::all_reduce, {x}, {{"group", world_group(2)}});
  graph.set_outputs({{live}, {live, 0}});
  const Graph result = eliminate_dead_code(graph);
  std::vector<std::string_view> ops;
  for (NodeId id : result.topological_order()) ops.push_back(to_string(result.node(id).op));
  CHECK(ops == std::vector<std::string_view>{"input", "input", "abs", "sqrt", "send"});
  CHECK(result.outputs() == std::vector<Output>{{NodeId(2)}, {NodeId(2), 0}});
  CHECK(result.node(NodeId(2)).origin == graph.node(live).origin);
  CHECK(result.node(NodeId(1)).name == graph.node(unused).name);
  CHECK(verify(result));
  CHECK(eliminate_dead_code(result) == result);
  CHECK(has_dead_code(graph));
  CHECK_FALSE(has_dead_code(result));
}

TEST_CASE("dead code elimination keeps exactly what outputs and effects reach") {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const Graph graph = GraphGenerator(seed).make(40);
    Store<NodeId, bool> needed(graph.size(), false);
    std::vector<NodeId> work;
    for (const Output& output : graph.outputs()) work.push_back(output.value);
    for (NodeId id : graph.topological_order())
      if (info(graph.node(id).op).traits & (kEffect | kSource)) work.push_back(id);
    while (!work.empty()) {
      const NodeId id = work.back();
      work.pop_back();
      if (needed[id]) continue;
      needed[id] = true;
      for (NodeId operand : graph.node(id).operands) work.push_back(operand);
    }
    REQUIRE(eliminate_dead_code(graph).size() == std::count(needed.begin(), needed.end(), true));
  }
}

TEST_CASE("verify accepts what was added and finds what was broken") {
  Graph graph;
  const NodeId x = input(graph, {2}), y = input(graph, {3});
  const NodeId z = add(graph, Op::sum, {x}, {{"dims", Ints{0}}});
  graph.set_outputs({{z}, {x, 0}});
  CHECK(verify(graph));
  // The interface does not let a node be broken, so the tests reach behind it.
  auto broken = [&](auto change) {
    Graph copy = graph;
    change(const_cast<Node&>(copy.node(z)));
    return message(verify(copy));
  };
  CHECK(broken([](Node& n) { n.type = f32({5}); }) == "%2 (sum): the type is f32[], and f32[5] is stored");
  CHECK(broken([](Node& n) { n.attributes = {}; }) == "%2 (sum): the attributes are not complete");
  CHECK(broken([](Node& n) { n.operands = {NodeId(2)}; }) == "%2 (sum): operand %2 does not precede it");
  CHECK(broken([](Node& n) { n.operands = {NodeId()}; }) == "%2 (sum): operand %-1 does not precede it");
  CHECK(broken([](Node& n) { n.op = Op::transpose; }) ==
        "%2 (transpose): a composite op does not stand in a graph");
  CHECK(broken([](Node& n) { n.attributes = {{"dims", Ints{1}}, {"keepdim", false}}; }) ==
        "%2 (sum): dim 2 is out of range: there is 1 dimension");
  CHECK(broken([](Node& n) { n.allocator = SymmetricAllocator{world_group(2)}; }) ==
        "%2 (sum): only inputs and constants have an allocator of their own");

  auto outputs = [&](std::vector<Output> list) {
    Graph copy = graph;
    copy.set_outputs(std::move(list));
    return message(verify(copy));
  };
  CHECK(outputs({{NodeId(3)}}) == "output %3 does not exist");
  CHECK(outputs({{x, 2}}) == "an output is written back to input 2, which does not exist");
  CHECK(outputs({{x, 1}}) == "f32[2] is written back to input 1, which is f32[3]");
  CHECK(outputs({{x, 0}, {x, 0}}) == "two outputs are written back to input 0");
  CHECK(outputs({{y, 1}, {y}}) == "ok");

  Graph gap;
  REQUIRE(gap.add(Op::input, {}, {{"index", int64_t{1}}, {"dtype", DType::f32}, {"shape", Ints{}}}, {}));
  CHECK(message(verify(gap)) == "the inputs' indices are not 0, 1, 2, ...: 1 where 0 is expected");
}

TEST_CASE("further results are nodes of their own, and name what their operand has") {
  Graph graph;
  const NodeId x = *graph.add(Op::input, {},
                              AttributesOf<Op::input>{.index = 0, .dtype = DType::bf16, .shape = {4, 6}}, {});
  const NodeId top = *graph.add(Op::topk, {x}, AttributesOf<Op::topk>{.k = 2}, {"a.lua", 3});
  const std::vector<NodeId> results = graph.add_further_results(top);
  REQUIRE(results.size() == 2);
  CHECK(results[0] == top);
  CHECK(graph.node(results[1]).type.to_string() == "i64[4,2]");
  CHECK(graph.node(results[1]).origin == Origin{"a.lua", 3});
  CHECK(graph.add_further_results(x) == std::vector{x});
  auto refused = [&](NodeId of, int64_t index, DType dtype, const Ints& shape) {
    auto added = graph.add(Op::result, {of}, AttributesOf<Op::result>{index, dtype, shape}, {});
    return added ? "accepted" : added.error().message;
  };
  CHECK(refused(top, 1, DType::i64, {4, 2}) == "accepted");
  CHECK(refused(top, 0, DType::bf16, {4, 2}) == "result: topk has 2 results, and number 1 is asked for");
  CHECK(refused(top, 2, DType::i64, {4, 2}) == "result: topk has 2 results, and number 3 is asked for");
  CHECK(refused(x, 1, DType::bf16, {4, 6}) == "result: input has 1 result, and number 2 is asked for");
  CHECK(refused(top, 1, DType::i64, {4, 6}) == "result: result 2 of topk is i64[4,2], not i64[4,6]");
  // The operation stays as long as any of its results is needed.
  graph.set_outputs({{results[1]}});
  CHECK(print(eliminate_dead_code(graph)) ==
        "%0 = input(index=0, dtype=bf16, shape=[4,6], place=device) : bf16[4,6]\n"
        "%1 = topk(%0, k=2, dim=2, largest=true) : bf16[4,2]  @ a.lua:3\n"
        "%2 = result(%1, index=1, dtype=i64, shape=[4,2]) : i64[4,2]  @ a.lua:3\nreturn %2\n");
}

TEST_CASE("a graph draws itself") {
  Graph graph;
  const NodeId x = input(graph, {2});
  const NodeId y = add(graph, Op::all_reduce, {x}, {{"group", world_group(2)}});
  graph.set_outputs({{y}});
  CHECK(
      print_dot(graph) ==
      "digraph peri {\n"
      "  node [shape=box, fontname=monospace];\n"
      "  n0 [label=\"%0 input x0\\nf32[2]\\nm.lua:1\", shape=ellipse];\n"
      "  n1 [label=\"%1 all_reduce\\nf32[2]\\nm.lua:2\", style=filled, fillcolor=lightblue, peripheries=2];\n"
      "  n0 -> n1;\n"
      "}\n");
}
