// The op table: every row is whole; arguments are completed; algorithms are found.
#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "core/ops/attributes_of.hpp"
#include "core/ops/collective.hpp"
#include "tests/core/types.hpp"

using namespace peri;

TEST_CASE("every row of the op table is whole") {
  std::set<std::string> names;
  for (int i = 0; i < kOpCount; ++i) {
    const OpInfo& row = info(static_cast<Op>(i));  // parses the attributes of all rows, or stops
    INFO(row.name);
    CHECK(row.op == static_cast<Op>(i));
    CHECK(names.emplace(row.name).second);
    CHECK(find_op(row.name) == row.op);
    CHECK(row.documentation.ends_with("."));
    CHECK(row.min_operands >= 0);
    CHECK((row.max_operands == -1 || row.max_operands >= row.min_operands));
    CHECK(row.has(kPointwise) == !row.expression.empty());
    CHECK((row.tolerance >= 0 && row.tolerance <= 1e-4));
    std::set<std::string> attributes;
    for (const AttributeInfo& attribute : row.attributes) CHECK(attributes.insert(attribute.name).second);
    if (row.has(kSource)) CHECK(attributes == std::set<std::string>{"index", "dtype", "shape", "place"});
    if (row.has(kCollective)) CHECK(attributes.contains("group"));
    if (row.has(kCreation)) CHECK(attributes.contains("dtype"));
  }
  CHECK(op_names().size() == names.size());
  CHECK(find_op("convolve") == std::nullopt);
}

TEST_CASE("rows say what ops.def says") {
  CHECK(info(Op::add).expression == "add(x, y)");
  CHECK(info(Op::exp).tolerance == Approx(2e-6));
  CHECK(info(Op::eq).result == ResultDType::boolean);
  CHECK(info(Op::cat).max_operands == -1);
  const auto& sum = info(Op::sum).attributes;
  REQUIRE(sum.size() == 2);
  CHECK((sum[0].name == "dims" && sum[0].kind == Kind::dims && *sum[0].fallback == AttributeValue(Ints{})));
  CHECK((sum[1].name == "keepdim" && *sum[1].fallback == AttributeValue(false)));
  CHECK(*info(Op::rms_norm).attributes[0].fallback == AttributeValue(1e-5));
  CHECK(!info(Op::slice).attributes[1].fallback);
  CHECK(*info(Op::all_reduce).attributes[2].fallback == AttributeValue(std::string()));
}

namespace {

template <class A>
concept HasDims = requires(A a) { a.dims; };
static_assert(HasDims<AttributesOf<Op::sum>> && !HasDims<AttributesOf<Op::argmax>>);
static_assert(std::is_same_v<decltype(AttributesOf<Op::slice>::dim), int>);
static_assert(std::is_same_v<decltype(AttributesOf<Op::arange>::step), double>);
static_assert(std::is_same_v<decltype(AttributesOf<Op::all_reduce>::reduce), Reduce>);

}  // namespace

TEST_CASE("a row's attributes are a struct") {
  const Attributes made = AttributesOf<Op::slice>{.dim = 1, .start = 2, .stop = 5};
  CHECK(made ==
        Attributes{{"dim", int64_t(1)}, {"start", int64_t(2)}, {"stop", int64_t(5)}, {"step", int64_t(1)}});
  const Attributes shuffled{
      {"step", int64_t(3)}, {"stop", int64_t(9)}, {"dim", int64_t(2)}, {"start", int64_t(4)}};
  const auto [dim, start, stop, step] = shuffled.as<Op::slice>();
  CHECK((dim == 2 && start == 4 && stop == 9 && step == 3));

  const Attributes collective =
      AttributesOf<Op::reduce_scatter>{.reduce = Reduce::max, .dim = 3, .group = {{0, 2}}};
  CHECK(collective == Attributes{{"reduce", std::string("max")},
                                 {"dim", int64_t(3)},
                                 {"group", Group{{0, 2}}},
                                 {"algorithm", std::string()}});
  CHECK(collective.get<"group">() == Group{{0, 2}});
  CHECK(collective.find<"reduce">() == Reduce::max);
  CHECK(!collective.find<"root">());
  CHECK(Attributes(AttributesOf<Op::contiguous>()) == Attributes());
  CHECK(AttributesOf<Op::rms_norm>().eps == 1e-5);
  CHECK(AttributesOf<Op::attention>().causal);
}

TEST_CASE("algorithms belong to collectives and are found by name") {
  for (const AlgorithmInfo& row : algorithms()) {
    CHECK(info(row.op).has(kCollective));
    CHECK(find_algorithm(row.op, row.name) == &row);
    CHECK(row.documentation.ends_with("."));
    if (row.symmetric == kNoOperand) CHECK(!row.end_barrier);
  }
  CHECK(find_algorithm(Op::all_reduce, "two_shot")->clobbers_input);
  CHECK(find_algorithm(Op::all_gather, "two_shot") == nullptr);
}

TEST_CASE("a collective's columns say what nccl-tests, the shape rules and Lua say") {
  for (const CollectiveInfo& row : collectives()) {
    INFO(to_string(row.op));
    CHECK(info(row.op).has(kCollective));
    CHECK(row.has_choice() == !info(row.op).has(kEffect));
    CHECK(row.reduces == std::ranges::any_of(info(row.op).attributes,
                                             [](const AttributeInfo& a) { return a.kind == Kind::reduce; }));
    CHECK((row.inputs == 1 || row.op == Op::recv));
    CHECK((row.outputs == 1 || row.op == Op::send || row.op == Op::barrier));
    const bool whole =
        row.op == Op::all_reduce || row.op == Op::broadcast || row.op == Op::reduce || !row.has_choice();
    CHECK(row.is_elementwise() == whole);
  }
  // Four ranks: 2 (n - 1) / n, (n - 1) / n, 1.
  CHECK(collective_info(Op::all_reduce).bus_factor(4) == 1.5);
  CHECK(collective_info(Op::reduce_scatter).bus_factor(4) == 0.75);
  CHECK(collective_info(Op::all_to_all).bus_factor(4) == 0.75);
  CHECK(collective_info(Op::broadcast).bus_factor(4) == 1);
  CHECK(collective_info(Op::reduce).bus_factor(4) == 1);
}

TEST_CASE("a collective's spec keeps what its attributes say") {
  const Group pair{{3, 1}};
  auto kept = [&](Op op, const Attributes& given) {
    const std::vector<TensorType> x = {f32({4, 6})};
    Attributes completed = *complete(op, given, x);
    if (completed.find<"algorithm">()) completed.set("algorithm", std::string("ll"));
    return attributes_of(collective_spec(op, completed, *find_algorithm(op, Algorithm::ll), {})) == completed;
  };
  CHECK(kept(Op::all_reduce, {{"reduce", std::string("max")}, {"group", pair}}));
  CHECK(kept(Op::all_gather, {{"dim", int64_t{1}}, {"group", pair}}));
  CHECK(kept(Op::reduce_scatter, {{"reduce", std::string("avg")}, {"dim", int64_t{1}}, {"group", pair}}));
  CHECK(kept(Op::all_to_all, {{"split_dim", int64_t{1}}, {"concat_dim", int64_t{0}}, {"group", pair}}));
  CHECK(kept(Op::broadcast, {{"root", int64_t{3}}, {"group", pair}}));
  CHECK(kept(Op::reduce, {{"reduce", std::string("min")}, {"root", int64_t{1}}, {"group", pair}}));
  CHECK(kept(Op::send, {{"peer", int64_t{1}}, {"group", pair}}));
  CHECK(kept(Op::recv, {{"peer", int64_t{3}}, {"group", pair}}));
  CHECK(kept(Op::barrier, {{"group", pair}}));
}

TEST_CASE("arguments are completed, ordered and resolved") {
  const std::vector<TensorType> x = {f32({4, 5, 6})};
  CHECK(complete(Op::sum, {{"keepdim", true}}, x) == Attributes{{"dims", Ints{}}, {"keepdim", true}});
  CHECK(complete(Op::sum, {{"dims", Ints{-1, 0}}}, x) ==
        Attributes{{"dims", Ints{2, 0}}, {"keepdim", false}});
  CHECK(complete(Op::softmax, {}, x) == Attributes{{"dim", int64_t{2}}});
  CHECK(complete(Op::stack, {{"dim", int64_t{-1}}}, x) == Attributes{{"dim", int64_t{3}}});
  CHECK(complete(Op::full, {{"shape", Ints{2}}, {"value", int64_t{3}}}, {}) ==
        Attributes{{"shape", Ints{2}}, {"value", 3.0}, {"dtype", DType::f32}});
  // The last two positions of dim 2.
  CHECK(complete(Op::slice, {{"dim", int64_t{1}}, {"start", int64_t{-2}}, {"stop", int64_t{-1}}}, x) ==
        Attributes{{"dim", int64_t{1}}, {"start", int64_t{3}}, {"stop", int64_t{5}}, {"step", int64_t{1}}});
}

TEST_CASE("wrong arguments are refused by name") {
  const std::vector<TensorType> x = {f32({4, 5})};
  Result<Attributes> misspelt = complete(Op::sum, {{"keepdims", true}}, x);
  CHECK(message(misspelt) == "no argument named keepdims");
  CHECK(misspelt.error().hint == "did you mean keepdim?");
  CHECK(complete(Op::add, {{"alpha", 1.0}}, std::vector{x[0], x[0]}).error().hint ==
        "it takes no named arguments");
  CHECK(message(complete(Op::sum, {{"keepdim", int64_t{3}}}, x)) == "argument keepdim must be a bool, got 3");
  CHECK(message(complete(Op::argmax, {}, x)) == "argument dim is missing");
  CHECK(message(complete(Op::softmax, {{"dim", int64_t{2}}}, x)) ==
        "dim 3 is out of range: there are 2 dimensions");
  CHECK(message(complete(Op::softmax, {{"dim", int64_t{-3}}}, x)) ==
        "dim -3 is out of range: there are 2 dimensions");
  CHECK(message(complete(Op::all_reduce, {{"reduce", std::string("xor")}, {"group", world_group(2)}}, x)) ==
        "argument reduce must be a reduction (sum, avg, min, max or prod), got \"xor\"");
  CHECK(message(complete(Op::slice, {}, {})) == "takes 1 operand, got 0");
}

TEST_CASE("numbers compare as parts of a program") {
  CHECK(Attributes{{"value", double(NAN)}} == Attributes{{"value", double(NAN)}});
  CHECK(Attributes{{"value", double(NAN)}} == Attributes{{"value", -double(NAN)}});
  CHECK(Attributes{{"value", 0.0}} != Attributes{{"value", -0.0}});
  CHECK(Attributes{{"value", 1.0}} != Attributes{{"value", int64_t{1}}});
}

TEST_CASE("attribute values print") {
  CHECK(to_string(AttributeValue(true)) == "true");
  CHECK(to_string(AttributeValue(0.1)) == "0.1");
  CHECK(to_string(AttributeValue(-INFINITY)) == "-inf");
  CHECK(to_string(AttributeValue(std::string("a\"\n"))) == "\"a\\\"\\x0a\"");
  CHECK(to_string(AttributeValue(Ints{1, 2})) == "[1,2]");
  CHECK(to_string(AttributeValue(Group{{0, 3}})) == "{0,3}");
}
