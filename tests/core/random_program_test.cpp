// The generator of random programs and its comparison: programs are valid and tame, every op of the table
// comes up, correct results pass and wrong ones do not; and what core does to graphs keeps their meaning.
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "tests/support/random_program.hpp"

using namespace peri;
using namespace peri::testing;

namespace {

constexpr uint64_t kPrograms = 400;  // per world size

std::vector<Arguments> arguments_of(const Graph& graph, uint64_t seed, int world) {
  std::vector<Arguments> arguments;
  for (int r = 0; r < world; ++r) arguments.push_back(random_arguments(graph, seed, r));
  return arguments;
}

template <class Check>
void for_each_program(Check check) {
  for (int world : {1, 2, 3, 4})
    for (uint64_t seed = 0; seed < kPrograms; ++seed) {
      Graph graph = random_program(seed, {.world = world, .entangled = seed % 4 == 3});
      INFO("seed " << seed << ", world " << world);
      check(graph, arguments_of(graph, seed, world));
    }
}

}  // namespace

TEST_CASE("random programs are valid, finite, and cover the table") {
  std::set<Op> seen;
  for_each_program([&](const Graph& graph, const std::vector<Arguments>& arguments) {
    for (int i = 0; i < graph.size(); ++i) seen.insert(graph.node(NodeId(i)).op);
    Status valid = verify(graph);
    if (!valid) FAIL_CHECK(valid.error().to_string());
    auto outputs = interpret(graph, arguments);
    if (!outputs) FAIL(outputs.error().to_string());
    bool finite = true;
    for (const auto& of_rank : *outputs)
      for (const Value& value : of_rank)
        if (is_float(value.type.dtype))
          for (double x : value.floats()) finite = finite && std::isfinite(x) && std::fabs(x) <= 2100;
    CHECK(finite);
  });
  std::set<Op> left_out;
  for (Op op : ops_left_out()) left_out.insert(op);
  for (int i = 0; i < kOpCount; ++i) {
    INFO(to_string(static_cast<Op>(i)));
    CHECK(seen.contains(static_cast<Op>(i)) != left_out.contains(static_cast<Op>(i)));
  }
}

TEST_CASE("text and dead-code elimination keep random programs' meaning") {
  for_each_program([&](const Graph& graph, const std::vector<Arguments>& arguments) {
    Result<Graph> parsed = parse(print(graph));
    if (!parsed) FAIL(parsed.error().to_string());
    CHECK(*parsed == graph);
    auto before = interpret(graph, arguments), after = interpret(eliminate_dead_code(graph), arguments);
    REQUIRE((before && after));
    CHECK(*before == *after);
  });
}

// Choices that come together once in a hundred thousand programs, as a weight of more than the largest
// tensor.
TEST_CASE("the generator ends with a program for any seed") {
  for (uint64_t seed = 10'036'000; seed < 10'038'000; ++seed)
    for (bool entangled : {false, true}) {
      const int world = 1 + static_cast<int>(seed / 50 % 4);
      const ProgramOptions options{world, 30, seed % 3 == 0, entangled};
      CHECK_FALSE(random_program(seed, options).outputs().empty());
    }
}

TEST_CASE("a seed gives one program, another seed another") {
  CHECK(random_program(7) == random_program(7));
  CHECK_FALSE(random_program(7) == random_program(8));
  Graph graph = random_program(7, {.world = 2});
  CHECK(random_arguments(graph, 1, 0).inputs == random_arguments(graph, 1, 0).inputs);
  CHECK_FALSE(random_arguments(graph, 1, 0).inputs == random_arguments(graph, 1, 1).inputs);
}

TEST_CASE("results with errors that the table allows pass") {
  int wrong = 0;
  for_each_program([&](const Graph& graph, const std::vector<Arguments>& arguments) {
    auto expected = expect(graph, arguments);
    // An implementation as inaccurate as may be: far more so than real kernels.
    auto got = interpret(graph, arguments, Perturbation{99});
    REQUIRE((expected && got));
    for (size_t r = 0; r < got->size(); ++r)
      for (size_t i = 0; i < (*got)[r].size(); ++i) {
        std::string what = difference((*got)[r][i], *expected, r, i);
        if (!what.empty()) WARN(what << "\n" << print(graph));
        wrong += !what.empty();
      }
  });
  CHECK(wrong == 0);
}

TEST_CASE("wrong results do not pass") {
  Graph graph;
  NodeId x =
      *graph.add(Op::input, {}, {{"index", int64_t{0}}, {"dtype", DType::f32}, {"shape", Ints{4, 8}}}, {});
  NodeId y = *graph.add(Op::tanh, {*graph.add(Op::sum, {x}, {{"dims", Ints{1}}}, {})}, {}, {});
  NodeId z = *graph.add(Op::cast, {x}, {{"dtype", DType::i32}}, {});
  graph.set_outputs({{y}, {z}});
  std::vector<Arguments> arguments = arguments_of(graph, 1, 1);
  auto expected = expect(graph, arguments);
  REQUIRE(expected);
  Value off = expected->exact[0][0];
  std::get<Value::Floats>(off.elements)[2] *= 1.001;
  CHECK(difference(off, *expected, 0, 0).starts_with("element 2 is "));
  std::get<Value::Floats>(off.elements)[2] = std::nan("");
  CHECK_FALSE(difference(off, *expected, 0, 0).empty());
  Value off_by_one = expected->exact[0][1];
  std::get<Value::Integers>(off_by_one.elements)[3] += 1;
  CHECK(difference(off_by_one, *expected, 0, 1).starts_with("element 3 is "));
  CHECK(difference(expected->exact[0][0], *expected, 0, 0).empty());
}
