// Programs that several planner tests plan: a small builder, and the known examples of planner/SYSTEMS.md.
#pragma once

#include <catch2/catch.hpp>

#include "core/graph/graph.hpp"
#include "planner/plan.hpp"

namespace peri::test {

// Builds a Graph line by line; every op is one line of model.lua.
class Program {
 public:
  NodeId input(DType dtype, Shape shape, Allocator allocator = DefaultAllocator{},
               Place place = Place::device) {
    return source(Op::input, inputs_++, dtype, shape, allocator, place);
  }
  NodeId constant(DType dtype, Shape shape) {
    return source(Op::constant, constants_++, dtype, shape, DefaultAllocator{}, Place::device);
  }
  NodeId op(Op op, std::vector<NodeId> operands, Attributes attributes = {}) {
    return add(op, std::move(operands), std::move(attributes), {"model.lua", ++line_}, DefaultAllocator{});
  }
  NodeId full(DType dtype, Shape shape, double value) {
    return op(Op::full, {},
              {{"shape", Ints(shape.begin(), shape.end())}, {"value", value}, {"dtype", dtype}});
  }
  NodeId all_reduce(NodeId x, Group group = {{0, 1}}, std::string algorithm = "") {
    return op(Op::all_reduce, {x}, {{"group", std::move(group)}, {"algorithm", std::move(algorithm)}});
  }
  NodeId reshape(NodeId x, Ints shape) { return op(Op::reshape, {x}, {{"shape", std::move(shape)}}); }
  NodeId slice(NodeId x, int64_t dim, int64_t start, int64_t stop) {
    return op(Op::slice, {x}, {{"dim", dim}, {"start", start}, {"stop", stop}, {"step", int64_t{1}}});
  }
  Graph returning(std::vector<NodeId> values) {
    for (NodeId value : values) outputs_.push_back({value});
    graph.set_outputs(outputs_);
    return graph;
  }
  void write_back(NodeId value, int input) { outputs_.push_back({value, input}); }

  Graph graph;

 private:
  NodeId source(Op op, int64_t index, DType dtype, Shape shape, Allocator allocator, Place place) {
    return add(
        op, {},
        {{"index", index}, {"dtype", dtype}, {"shape", Ints(shape.begin(), shape.end())}, {"place", place}},
        {}, std::move(allocator));
  }
  NodeId add(Op op, std::vector<NodeId> operands, Attributes attributes, Origin origin, Allocator allocator) {
    Result<NodeId> id = graph.add(op, std::move(operands), std::move(attributes), std::move(origin), "",
                                  std::move(allocator));
    if (!id) FAIL(id.error().to_string());
    return *id;
  }
  std::vector<Output> outputs_;
  int64_t inputs_ = 0, constants_ = 0;
  int line_ = 0;
};

inline planner::Policy one_shot() {
  planner::Policy policy;
  policy.algorithms[Op::all_reduce] = [](const planner::OpContext&) -> Result<std::string> {
    return "one_shot";
  };
  return policy;
}

inline planner::Plan planned(const Graph& graph, const planner::Policy& policy = one_shot(),
                             World world = {0, 2}) {
  Result<planner::Plan> result = plan(graph, world, policy);
  if (!result) FAIL(result.error().to_string());
  return std::move(*result);
}

// S8: eight layers of matmul and all-reduce, hidden 4096, sequence 128, bf16, two ranks.
inline Graph eight_layers() {
  Program p;
  NodeId x = p.input(DType::bf16, {128, 4096});
  for (int i = 0; i < 8; ++i) x = p.all_reduce(p.op(Op::matmul, {x, p.constant(DType::bf16, {4096, 4096})}));
  return p.returning({x});
}

inline planner::Policy fallback() {
  planner::Policy policy = one_shot();
  policy.lowering = planner::Lowering::fallback;
  return policy;
}

// S1: both operands are made before the first collective runs, so both comm buffers are alive at
// once.
inline Graph two_operands_at_once() {
  Program p;
  NodeId x = p.input(DType::f32, {4, 8}), w = p.constant(DType::f32, {8, 8});
  NodeId a = p.op(Op::matmul, {x, w}), b = p.op(Op::exp, {x});
  return p.returning({p.op(Op::add, {p.all_reduce(a), p.all_reduce(b)})});
}

// S1: the second operand is made from the first result.
inline Graph operands_in_sequence() {
  Program p;
  NodeId x = p.input(DType::f32, {4, 8}), w = p.constant(DType::f32, {8, 8});
  return p.returning({p.all_reduce(p.op(Op::exp, {p.all_reduce(p.op(Op::matmul, {x, w}))}))});
}

// S1: what is reduced is a part of a value that is also read whole; its base becomes symmetric.
inline Graph view_of_a_value() {
  Program p;
  NodeId x = p.input(DType::f32, {4, 8}), a = p.op(Op::exp, {x});
  NodeId part = p.all_reduce(p.slice(a, 0, 2, 4));
  return p.returning({p.op(Op::add, {part, p.slice(a, 0, 0, 2)})});
}

// S3: another group's buffer, and one that is also returned.
inline Graph operands_not_ours() {
  Program p;
  NodeId x = p.input(DType::f32, {4, 8}), a = p.op(Op::exp, {x}), b = p.op(Op::sigmoid, {a});
  NodeId pair = p.all_reduce(a, {{0, 1}}), world = p.all_reduce(a, {{0, 1, 2, 3}}),
         again = p.all_reduce(a, {{0, 1, 2, 3}});
  return p.returning({p.op(Op::add, {p.op(Op::add, {pair, world}), again}), p.all_reduce(b), b});
}

// S6: graph inputs: one wanted twice, one already symmetric, and a constant.
inline Graph graph_inputs() {
  Program p;
  NodeId x = p.input(DType::f32, {4, 8}), y = p.input(DType::f32, {4, 8}, SymmetricAllocator{{{0, 1}}}),
         c = p.constant(DType::f32, {4, 8});
  NodeId a = p.all_reduce(x), b = p.all_reduce(p.reshape(x, {8, 4}));
  return p.returning({a, b, p.all_reduce(y), p.all_reduce(c), p.op(Op::exp, {x})});
}

// S7's example: three values from one kernel, each reduced, and the reduced sum of the results.
inline Graph three_siblings() {
  Program p;
  NodeId x = p.input(DType::f32, {4, 4});
  std::vector<NodeId> values;
  for (double i = 1; i <= 3; ++i) values.push_back(p.op(Op::add, {x, p.full(DType::f32, {}, i)}));
  for (NodeId& value : values) value = p.all_reduce(value);
  return p.returning({p.all_reduce(p.op(Op::add, {p.op(Op::add, {values[0], values[1]}), values[2]}))});
}

// The end of a layer: a reduced product, added to a residual and normalised; both are wanted.
inline Graph residual_and_norm() {
  Program p;
  NodeId x = p.input(DType::f32, {4, 8}), residual = p.input(DType::f32, {4, 8}),
         w = p.constant(DType::f32, {8, 8}), scale = p.constant(DType::f32, {8});
  NodeId h = p.op(Op::add, {residual, p.all_reduce(p.op(Op::matmul, {x, w}))});
  return p.returning({h, p.op(Op::rms_norm, {h, scale}, {{"eps", 1e-6}})});
}

inline planner::Policy epilogues() {
  planner::Policy policy = one_shot();
  policy.epilogues = true;
  return policy;
}

}  // namespace peri::test
