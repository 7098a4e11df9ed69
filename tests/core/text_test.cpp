// The text form: a golden, the round trip of random graphs, and what malformed text is told.
#include <rapidcheck.h>
#include <catch2/catch.hpp>

#include "tests/core/random_graph.hpp"
#include "tests/core/types.hpp"

using namespace peri;

TEST_CASE("a graph prints as it is documented") {
  Graph graph;
  const Origin line{"model.lua", 12};
  const NodeId x =
      *graph.add(Op::input, {}, {{"index", int64_t{0}}, {"dtype", DType::f32}, {"shape", Ints{4, 8}}}, line,
                 "x", SymmetricAllocator{world_group(2)});
  const NodeId w =
      *graph.add(Op::constant, {}, {{"index", int64_t{0}}, {"dtype", DType::f32}, {"shape", Ints{8, 8}}}, {});
  const NodeId y = *graph.add(Op::matmul, {x, w}, {}, line);
  const NodeId z = *graph.add(Op::all_reduce, {y}, {{"group", world_group(2)}}, {"my model.lua", 3});
  const NodeId part =
      *graph.add(Op::slice, {z}, {{"dim", int64_t{-1}}, {"start", int64_t{0}}, {"stop", int64_t{4}}}, line);
  const NodeId sum = *graph.add(Op::sum, {part}, {{"dims", Ints{0, 1}}}, line);
  const NodeId host = *graph.add(Op::copy_to, {sum}, {{"place", Place::host}}, line);
  graph.set_outputs({{host}, {z, 0}});
  const std::string text =
      "%0 = input(index=0, dtype=f32, shape=[4,8], place=device) : f32[4,8] name \"x\" in symmetric{0,1}  @ "
      "model.lua:12\n"
      "%1 = constant(index=0, dtype=f32, shape=[8,8], place=device) : f32[8,8]\n"
      "%2 = matmul(%0, %1) : f32[4,8]  @ model.lua:12\n"
      "%3 = all_reduce(%2, reduce=\"sum\", group={0,1}, algorithm=\"\") : f32[4,8]  @ \"my model.lua\":3\n"
      "%4 = slice(%3, dim=2, start=1, stop=4, step=1) : f32[4,4]  @ model.lua:12\n"
      "%5 = sum(%4, dims=[1,2], keepdim=false) : f32[]  @ model.lua:12\n"
      "%6 = copy_to(%5, place=host) : f32[] on host  @ model.lua:12\n"
      "return %6, %3 -> input 0\n";
  CHECK(print(graph) == text);
  Result<Graph> read = parse(text);
  REQUIRE(message(read) == "ok");
  CHECK(*read == graph);
}

TEST_CASE("random graphs survive the text form") {
  CHECK(rc::check("parse(print(g)) == g", [](uint32_t seed) {
    const Graph graph = GraphGenerator(seed).make(30);
    const std::string text = print(graph);
    Result<Graph> read = parse(text);
    if (!read) RC_FAIL(read.error().to_string() + "\n" + text);
    RC_ASSERT(*read == graph);
    RC_ASSERT(print(*read) == text);
  }));
}

TEST_CASE("the generator reaches every op") {
  // Some ops ask much of their operands: the first time for all comes late.
  std::vector<bool> reached(kOpCount, false);
  auto all = [&] {
    for (int i = 0; i < kOpCount; ++i)
      if (!reached[i] && !info(static_cast<Op>(i)).has(kComposite)) return false;
    return true;
  };
  for (uint32_t seed = 0; seed < 30000 && !all(); ++seed) {
    const Graph graph = GraphGenerator(seed).make(40);
    for (NodeId id : graph.topological_order()) reached[static_cast<size_t>(graph.node(id).op)] = true;
  }
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& row = info(static_cast<Op>(i));
    INFO(row.name);
    CHECK(reached[i] != row.has(kComposite));
  }
}

TEST_CASE("arguments left out take their defaults, and spaces do not matter") {
  Result<Graph> graph =
      parse("\n  %0=full( shape = [2, 3],value=nan ):f32[2,3]\r\n\n%1 = softmax(%0) : f32[2,3]\nreturn");
  REQUIRE(graph);
  CHECK(graph->node(NodeId(1)).attributes == Attributes{{"dim", int64_t{1}}});
  CHECK(graph->outputs().empty());
}

TEST_CASE("malformed text is refused with its line") {
  const std::string x = "%0 = full(shape=[2], value=1) : f32[2]\n";
  const std::pair<std::string, std::string> cases[] = {
      {"", "the last line, `return ...`, is missing"},
      {x, "the last line, `return ...`, is missing"},
      {x + "return\nreturn", "line 3: there is text after the return"},
      {x + "return %1", "line 2: %1 is not defined above"},
      {x + "return %-1", "line 2: %-1 is not defined above"},
      {x + "return %0 %0", "line 2: column 11: expected the end of the line"},
      {x + "return %0 -> input", "line 2: column 19: expected the index of an input"},
      {"returned", "line 1: column 1: expected `%`"},
      {"%1 = full(shape=[2], value=1) : f32[2]", "line 1: nodes are numbered in order; the next is %0"},
      {"%99999999999 = full()", "line 1: column 2: expected the number of a node"},
      {x + "%1 = ad(%0, %0) : f32[2]", "line 2: no operation named ad"},
      {x + "%1 = neg(%1) : f32[2]", "line 2: %1 is not defined above"},
      {x + "%1 = neg(%0) : f32[3]", "line 2: the type is f32[2], and f32[3] is written"},
      {x + "%1 = neg(%0) : f32[2] on host", "line 2: the type is f32[2], and f32[2] on host is written"},
      {x + "%1 = neg(%0) : f33[2]", "line 2: no such dtype: f33"},
      {x + "%1 = neg(%0, %0) : f32[2]", "line 2: neg: takes 1 operand, got 2"},
      {x + "%1 = neg(%0", "line 2: column 12: expected `)`"},
      {x + "%1 = neg(%0) : f32[2] nam \"x\"", "line 2: column 23: expected the end of the line"},
      {x + "%1 = neg(%0) : f32[2] name \"x", "line 2: column 30: expected a closing `\"`"},
      {x + "%1 = neg(%0) : f32[2] name \"\\x1", "line 2: column 31: expected two hexadecimal digits"},
      {x + "%1 = neg(%0) : f32[2] name \"\\x-1\"", "line 2: column 31: expected two hexadecimal digits"},
      {x + "%1 = neg(%0) : f32[2] name \"\\", "line 2: column 30: expected a character after the backslash"},
      {x + "%1 = neg(%0) : f32[2] @ m.lua", "line 2: column 30: expected `:`"},
      {x + "%1 = sum(%0, dims=[0]) : f32[]", "line 2: dimensions count from 1, or from -1 at the last"},
      {x + "%1 = sum(%0, dims=[1, ) : f32[]", "line 2: column 23: expected a whole number"},
      {x + "%1 = softmax(%0, dim=0) : f32[2]", "line 2: positions count from 1, or from -1 at the last"},
      {x + "%1 = softmax(%0, dim=1, dim=1) : f32[2]", "line 2: argument dim is given twice"},
      {x + "%1 = softmax(%0, axis=1) : f32[2]", "line 2: softmax has no argument named axis"},
      {x + "%1 = softmax(%0, dim=9223372036854775808) : f32[2]", "line 2: column 22: expected a position"},
      {x + "%1 = linear(%0, %0) : f32[2]",
       "line 2: linear: a graph does not hold composite operations; add what it decomposes into"},
      {"%0 = full(shape=[99999999999,99999999999], value=1) : f32[2]",
       "line 1: full: shape [99999999999,99999999999] has more elements than memory can hold"},
      {"%0 = full(shape=[2], value=1e999) : f32[2]", "line 1: column 28: expected a number"},
      {"%0 = full(shape=[1,1,1,1,1,1,1,1,1], value=1) : f32[1,1,1,1,1,1,1,1,1]",
       "line 1: a shape of 9 dimensions; at most 8 are supported"},
  };
  for (const auto& [text, expected] : cases) {
    INFO(text);
    Result<Graph> graph = parse(text);
    REQUIRE(!graph);
    CHECK(graph.error().message == expected);
  }
}

TEST_CASE("damaged text never crashes, and what is accepted prints and reads back") {
  int accepted = 0;
  for (uint32_t seed = 0; seed < 5000; ++seed) {
    GraphGenerator random(seed);
    std::string text = print(random.make(8));
    for (int i = 1 + random.below(3); i > 0; --i) {
      const size_t at = static_cast<size_t>(random.below(static_cast<int>(text.size())));
      switch (random.below(4)) {
        case 0:
          text[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          text.erase(at, static_cast<size_t>(1 + random.below(5)));
          break;
        case 2:
          text.insert(at, text.substr(static_cast<size_t>(random.below(static_cast<int>(text.size()))), 6));
          break;
        case 3:
          text[at] = "0123456789-%[]{}\",\n"[random.below(19)];
          break;
      }
      if (text.empty()) break;
    }
    Result<Graph> graph = parse(text);
    if (!graph) continue;
    ++accepted;
    Result<Graph> again = parse(print(*graph));
    REQUIRE(again);
    REQUIRE(*again == *graph);
  }
  CHECK(accepted > 100);  // or the damage would always hit the same first check
}
