// The reference interpreter over several ranks: collectives, groups, messages, and programs that do not fit
// together.
#include <catch2/catch.hpp>

#include "core/interpreter/interpreter.hpp"

using namespace peri;

namespace {

Value integers(const Shape& shape, Value::Integers elements) {
  return {{DType::i64, shape}, elements};
}

// A program over one i64 input: each step applies an op to the value before; all values are outputs.
struct Step {
  Op op;
  Attributes attributes;
};
Graph chain(const Shape& shape, std::vector<Step> steps) {
  Graph graph;
  Ints dims(shape.begin(), shape.end());
  NodeId value =
      *graph.add(Op::input, {}, {{"index", int64_t{0}}, {"dtype", DType::i64}, {"shape", dims}}, {});
  std::vector<Output> outputs;
  int line = 1;
  for (Step& step : steps) {
    Result<NodeId> next = graph.add(step.op, {value}, step.attributes, {"model.lua", line++});
    if (!next) FAIL(next.error().to_string());
    outputs.push_back({value = *next});
  }
  graph.set_outputs(outputs);
  return graph;
}

// Rank r's input holds 10 r + 1, 10 r + 2, ...
std::vector<Arguments> counting_arguments(int world, const Shape& shape) {
  std::vector<Arguments> arguments;
  for (int r = 0; r < world; ++r) {
    Value value = zeros({DType::i64, shape});
    for (int64_t i = 0; i < numel(shape); ++i) std::get<Value::Integers>(value.elements)[i] = 10 * r + i + 1;
    arguments.push_back({{value}, {}});
  }
  return arguments;
}

std::vector<Value> last_outputs(const Graph& graph, int world, const Shape& shape) {
  auto result = interpret(graph, counting_arguments(world, shape));
  if (!result) FAIL(result.error().to_string());
  std::vector<Value> last;
  for (auto& outputs : *result) last.push_back(outputs.back());
  return last;
}

const Group kThree{{0, 1, 2}};

}  // namespace

TEST_CASE("collectives of the whole world") {
  Graph all_reduce = chain({2}, {{Op::all_reduce, {{"group", kThree}}}});
  for (const Value& value : last_outputs(all_reduce, 3, {2})) CHECK(value == integers({2}, {33, 36}));
  Graph largest = chain({2}, {{Op::all_reduce, {{"group", kThree}, {"reduce", "max"}}}});
  for (const Value& value : last_outputs(largest, 3, {2})) CHECK(value == integers({2}, {21, 22}));

  Graph all_gather = chain({2, 1}, {{Op::all_gather, {{"dim", int64_t{1}}, {"group", kThree}}}});
  for (const Value& value : last_outputs(all_gather, 3, {2, 1}))
    CHECK(value == integers({2, 3}, {1, 11, 21, 2, 12, 22}));

  Graph reduce_scatter = chain({3}, {{Op::reduce_scatter, {{"group", kThree}}}});
  std::vector<Value> parts = last_outputs(reduce_scatter, 3, {3});
  for (int r = 0; r < 3; ++r) CHECK(parts[r] == integers({1}, {33 + 3 * r}));

  Graph broadcast = chain({1}, {{Op::broadcast, {{"root", int64_t{2}}, {"group", kThree}}}});
  for (const Value& value : last_outputs(broadcast, 3, {1})) CHECK(value == integers({1}, {21}));

  Graph reduce = chain({2}, {{Op::reduce, {{"root", int64_t{1}}, {"group", kThree}}}});
  const std::vector<Value> reduced = last_outputs(reduce, 3, {2});
  CHECK(reduced[0] == integers({2}, {1, 2}));  // who is not the root keeps its own
  CHECK(reduced[1] == integers({2}, {33, 36}));
  CHECK(reduced[2] == integers({2}, {21, 22}));

  Graph shard = chain({3}, {{Op::shard, {{"dim", int64_t{0}}, {"group", kThree}}}});
  for (int r = 0; r < 3; ++r) CHECK(last_outputs(shard, 3, {3})[r] == integers({1}, {11 * r + 1}));
}

TEST_CASE("all_to_all splits one dimension and joins another") {
  Group two{{0, 1}};
  Graph graph = chain(
      {1, 2}, {{Op::all_to_all, {{"split_dim", int64_t{1}}, {"concat_dim", int64_t{0}}, {"group", two}}}});
  std::vector<Value> got = last_outputs(graph, 2, {1, 2});
  CHECK(got[0] == integers({2, 1}, {1, 11}));
  CHECK(got[1] == integers({2, 1}, {2, 12}));
}

TEST_CASE("sums over ranks are rounded once, after the division") {
  Graph graph;
  NodeId x =
      *graph.add(Op::input, {}, {{"index", int64_t{0}}, {"dtype", DType::bf16}, {"shape", Ints{1}}}, {});
  NodeId y = *graph.add(Op::all_reduce, {x}, {{"reduce", "avg"}, {"group", kThree}}, {});
  graph.set_outputs({{y}});
  std::vector<Arguments> arguments;
  for (double each : {256.0, 1.0, 1.0})
    arguments.push_back({{Value{{DType::bf16, {1}}, Value::Floats{each}}}, {}});
  auto result = interpret(graph, arguments);
  REQUIRE(result);
  CHECK((*result)[1][0].floats()[0] == 86.0);  // 256 + 1 is 256 in bf16, and a third of that rounds to 85.5
}

TEST_CASE("groups that are subsets run programs of their own") {
  Group even{{2, 0}}, odd{{1, 3}};
  Graph on_even = chain({1}, {{Op::all_gather, {{"group", even}}}, {Op::neg, {}}});
  Graph on_odd = chain({1}, {{Op::barrier, {{"group", odd}}}, {Op::all_reduce, {{"group", odd}}}});
  std::vector<const Graph*> programs = {&on_even, &on_odd, &on_even, &on_odd};
  auto result = interpret(programs, counting_arguments(4, {1}));
  REQUIRE(result);
  CHECK((*result)[0].back() == integers({2}, {-21, -1}));  // the group's order, not the ranks'
  CHECK((*result)[3].back() == integers({1}, {42}));
}

TEST_CASE("send and recv pair up in order, and a send does not wait") {
  Group two{{0, 1}};
  Graph first = chain({1}, {{Op::send, {{"peer", int64_t{1}}, {"group", two}}},
                            {Op::recv, {{"peer", int64_t{1}}, {"group", two}}}});
  Graph second = chain({1}, {{Op::send, {{"peer", int64_t{0}}, {"group", two}}},
                             {Op::recv, {{"peer", int64_t{0}}, {"group", two}}}});
  std::vector<const Graph*> programs = {&first, &second};
  auto result = interpret(programs, counting_arguments(2, {1}));
  REQUIRE(result);
  CHECK((*result)[0].back() == integers({1}, {11}));
  CHECK((*result)[1].back() == integers({1}, {1}));
}

TEST_CASE("collectives that never meet are a RankMismatch that says who waits where") {
  Group two{{0, 1}};
  Graph sum = chain({2}, {{Op::all_reduce, {{"group", two}}}});
  Graph gather = chain({2}, {{Op::neg, {}}, {Op::all_gather, {{"group", two}}}});
  Graph none = chain({2}, {{Op::neg, {}}});
  Graph longer = chain({3}, {{Op::all_reduce, {{"group", two}}}});
  auto error_of = [](const Graph& a, const Shape& a_shape, const Graph& b, const Shape& b_shape) {
    std::vector<const Graph*> programs = {&a, &b};
    std::vector<Arguments> arguments = {counting_arguments(1, a_shape)[0], counting_arguments(1, b_shape)[0]};
    auto result = interpret(programs, arguments);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Code::RankMismatch);
    return result.error();
  };
  Error different = error_of(sum, {2}, gather, {2});
  REQUIRE(different.context.size() == 2);
  CHECK(different.context[0].find("rank 0 waits in all_reduce") == 0);
  CHECK(different.context[1].find("at model.lua:2") != std::string::npos);
  CHECK(error_of(sum, {2}, none, {2}).context[1] == "rank 1 is done");
  error_of(sum, {2}, longer, {3});

  Graph sends = chain({2}, {{Op::send, {{"peer", int64_t{1}}, {"group", two}}}});
  CHECK(error_of(sends, {2}, none, {2}).message == "rank 0 sent to rank 1, which never received it");
}

TEST_CASE("arguments and groups that do not fit are refused") {
  Graph graph = chain({2}, {{Op::all_reduce, {{"group", kThree}}}});
  auto outside = interpret(graph, counting_arguments(2, {2}));
  REQUIRE_FALSE(outside);
  CHECK(outside.error().code == Code::InvalidArgument);
  auto other_shape = interpret(graph, counting_arguments(3, {3}));
  REQUIRE_FALSE(other_shape);
  CHECK(other_shape.error().message == "input 0 is i64[3], and the program takes i64[2]");
  CHECK_FALSE(interpret(graph, std::vector<Arguments>(3)));
  CHECK_FALSE(interpret(graph, counting_arguments(4, {2})));  // rank 3 is not in the group
}

TEST_CASE("a window is overwritten where this rank's view lies, the last dimension turned first") {
  Graph graph;
  const NodeId x =
      *graph.add(Op::input, {}, {{"index", int64_t{0}}, {"dtype", DType::i64}, {"shape", Ints{2, 3}}}, {});
  const NodeId turned = *graph.add(Op::permute, {x}, {{"dims", Ints{1, 0}}}, {});
  const NodeId part = *graph.add(Op::shard, {turned}, {{"dim", int64_t{1}}, {"group", Group{{0, 1}}}}, {});
  const NodeId rows =
      *graph.add(Op::slice, {part}, {{"dim", int64_t{0}}, {"start", int64_t{1}}, {"stop", int64_t{3}}}, {});
  const NodeId changed = *graph.add(Op::window_copy, {x, rows, *graph.add(Op::neg, {rows}, {}, {})}, {}, {});
  graph.set_outputs({{changed}});
  const std::vector<Value> last = last_outputs(graph, 2, {2, 3});
  // Rank r has row r, of which all but the first are changed.
  CHECK(last[0] == integers({2, 3}, {1, -2, -3, 4, 5, 6}));
  CHECK(last[1] == integers({2, 3}, {11, 12, 13, 14, -15, -16}));
}

TEST_CASE("a perturbation stays within a few tolerances and leaves exact ops alone") {
  Graph graph;
  NodeId x =
      *graph.add(Op::input, {}, {{"index", int64_t{0}}, {"dtype", DType::f32}, {"shape", Ints{2}}}, {});
  NodeId copy = *graph.add(Op::neg, {x}, {}, {});
  NodeId root = *graph.add(Op::sqrt, {x}, {}, {});
  graph.set_outputs({{copy}, {root}});
  std::vector<Arguments> arguments = {{{Value{{DType::f32, {2}}, Value::Floats{4, 9}}}, {}}};
  auto exact = interpret(graph, arguments), noisy = interpret(graph, arguments, Perturbation{1});
  REQUIRE((exact && noisy));
  CHECK((*noisy)[0][0] == (*exact)[0][0]);
  CHECK((*noisy)[0][1] != (*exact)[0][1]);
  for (int i = 0; i < 2; ++i)
    CHECK((*noisy)[0][1].floats()[i] == Approx((*exact)[0][1].floats()[i]).epsilon(1.2e-6));
}
