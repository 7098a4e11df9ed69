// Composite ops in terms of others: where a new one is written. They never stand in a Graph.
#include "core/ops/attributes_of.hpp"
#include "core/ops/families.hpp"

namespace peri {

namespace {

// The steps so far, and what their results' handles are.
class Steps {
 public:
  explicit Steps(size_t operand_count) : next_(static_cast<int>(operand_count)) {}
  int add(Op op, std::vector<int> operands, Attributes attributes = {}) {
    steps_.push_back({op, std::move(operands), std::move(attributes)});
    return next_++;
  }
  std::vector<Step> take() { return std::move(steps_); }

 private:
  std::vector<Step> steps_;
  int next_;
};

AttributesOf<Op::reshape> of_shape(const Shape& shape) {
  return {.shape = Ints(shape.begin(), shape.end())};
}

void linear(Steps& steps, std::span<const TensorType> operands, const Shape& result) {
  int x = 0;
  const bool is_vector = operands[0].shape.rank() == 1;
  if (is_vector) x = steps.add(Op::reshape, {x}, AttributesOf<Op::reshape>{.shape = {1, -1}});
  const int weight = steps.add(Op::permute, {1}, AttributesOf<Op::permute>{.dims = {1, 0}});
  int y = steps.add(Op::matmul, {x, weight});
  if (is_vector) y = steps.add(Op::reshape, {y}, of_shape(result));
  if (operands.size() == 3) steps.add(Op::add, {y, 2});
}

void transpose(Steps& steps, const Shape& result, const Attributes& attributes) {
  const auto [dim0, dim1] = attributes.as<Op::transpose>();
  AttributesOf<Op::permute> permute;
  for (int i = 0; i < result.rank(); ++i) permute.dims.push_back(i);
  std::swap(permute.dims[dim0], permute.dims[dim1]);
  steps.add(Op::permute, {0}, permute);
}

void stack(Steps& steps, std::span<const TensorType> operands, const Attributes& attributes) {
  const int dim = attributes.as<Op::stack>().dim;
  Shape part = operands[0].shape;
  part.insert(dim, 1);
  std::vector<int> parts;
  for (size_t i = 0; i < operands.size(); ++i)
    parts.push_back(steps.add(Op::reshape, {static_cast<int>(i)}, of_shape(part)));
  steps.add(Op::cat, std::move(parts), AttributesOf<Op::cat>{.dim = dim});
}

}  // namespace

Result<std::vector<Step>> decompose(Op op, std::span<const TensorType> operands,
                                    const Attributes& attributes) {
  // The composite's own rule speaks first, so that messages are about what the user wrote.
  const Attributes completed = PERI_TRY(complete(op, attributes, operands));
  const TensorType result = PERI_TRY(infer(op, operands, completed));
  Steps steps(operands.size());
  switch (op_of<CompositeOp>(op)) {
    case CompositeOp::linear:
      linear(steps, operands, result.shape);
      break;
    case CompositeOp::transpose:
      transpose(steps, result.shape, completed);
      break;
    case CompositeOp::stack:
      stack(steps, operands, completed);
      break;
  }
  return steps.take();
}

}  // namespace peri
