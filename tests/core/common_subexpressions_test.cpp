// Which operations are computed once.
#include <catch2/catch.hpp>

#include "core/graph/graph.hpp"

namespace peri::test {
namespace {

class Program {
 public:
  NodeId input(Shape shape) {
    return op(Op::input, {},
              {{"index", inputs_++}, {"dtype", DType::f32}, {"shape", Ints(shape.begin(), shape.end())}});
  }
  NodeId full(double value, Shape shape = {}) {
    return op(Op::full, {}, {{"shape", Ints(shape.begin(), shape.end())}, {"value", value}});
  }
  NodeId op(Op op, std::vector<NodeId> operands, Attributes attributes = {}) {
    Result<NodeId> id = graph.add(op, std::move(operands), std::move(attributes), {"model.lua", ++line_});
    REQUIRE(id);
    return *id;
  }
  // How many nodes are left; the outputs must be the values that they were.
  int shared_size(std::vector<NodeId> outputs) {
    std::vector<Output> all;
    for (NodeId id : outputs) all.push_back({id});
    graph.set_outputs(all);
    std::optional<SharedGraph> shared = share_common_subexpressions(graph);
    if (!shared) return graph.size();
    REQUIRE(verify(shared->graph));
    result = std::move(*shared);
    return result.graph.size();
  }

  Graph graph;
  SharedGraph result;

 private:
  int64_t inputs_ = 0;
  int line_ = 0;
};

}  // namespace

TEST_CASE("equal operations on equal values are one") {
  Program p;
  const NodeId x = p.input({4, 4}), w = p.input({4, 4});
  auto layer = [&] { return p.op(Op::add, {p.op(Op::matmul, {x, w}), p.full(0.5)}); };
  const NodeId a = layer(), b = layer();  // lines 3 to 5 and 6 to 8
  CHECK(p.shared_size({a, b}) == 5);
  CHECK(p.result.graph.outputs()[0].value == p.result.graph.outputs()[1].value);
  REQUIRE(p.result.repeated.size() == 2);
  CHECK(p.result.graph.node(p.result.repeated[0].node).op == Op::matmul);
  CHECK(p.result.repeated[0].again == std::vector<Origin>{{"model.lua", 6}});
  CHECK(p.result.graph.node(p.result.repeated[1].node).op == Op::add);
}

TEST_CASE("what differs stays apart") {
  Program p;
  const NodeId x = p.input({4, 4}), w = p.input({4, 4});
  SECTION("operands and their order") {
    CHECK(p.shared_size(
              {p.op(Op::sub, {x, w}), p.op(Op::sub, {w, x}), p.op(Op::neg, {x}), p.op(Op::neg, {w})}) == 6);
  }
  SECTION("attributes, by their bits") {
    const NodeId zero = p.op(Op::add, {x, p.full(0.0)}), minus = p.op(Op::add, {x, p.full(-0.0)});
    const NodeId rows = p.op(Op::sum, {x}, {{"dims", Ints{0}}}),
                 columns = p.op(Op::sum, {x}, {{"dims", Ints{1}}});
    CHECK(p.shared_size({zero, minus, rows, columns}) == 8);
  }
  SECTION("random numbers of other seeds") {
    auto random = [&](int64_t seed) { return p.op(Op::rand, {}, {{"shape", Ints{4}}, {"seed", seed}}); };
    CHECK(p.shared_size({random(1), random(2), random(1)}) == 4);
  }
  SECTION("collectives and effects: peers wait for each") {
    const Group pair{{0, 1}};
    auto sum = [&] { return p.op(Op::all_reduce, {x}, {{"group", pair}}); };
    auto meet = [&] { return p.op(Op::barrier, {x}, {{"group", pair}}); };
    CHECK(p.shared_size({sum(), sum(), meet(), meet()}) == 6);
  }
  SECTION("a full that is an output, or that others need") {
    const NodeId a = p.full(2, {4}), b = p.full(2, {4});
    CHECK(p.shared_size({p.op(Op::neg, {a}), p.op(Op::neg, {b}), b}) == 5);
  }
}

TEST_CASE("further results follow their operation") {
  Program p;
  const NodeId x = p.input({4, 4});
  auto positions = [&] {
    const NodeId values = p.op(Op::sort, {x});
    return p.graph.add_further_results(values)[1];
  };
  const NodeId a = positions(), b = positions();
  CHECK(p.shared_size({a, b}) == 3);
  CHECK(p.result.repeated.size() == 1);
}

TEST_CASE("values that were changed in between are other values") {
  Program p;
  const NodeId x = p.input({4, 4}), index = p.op(Op::arange, {}, {{"count", int64_t{1}}}),
               row = p.input({1, 4});
  const NodeId before = p.op(Op::exp, {x});
  const NodeId changed = p.op(Op::index_copy, {x, index, row}, {{"dim", int64_t{0}}});
  CHECK(p.shared_size({before, p.op(Op::exp, {changed})}) == 6);
}

}  // namespace peri::test
