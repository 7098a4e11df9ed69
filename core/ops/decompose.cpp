// Composite ops in terms of others: where a new one is written. They never stand in a Graph.
#include "core/ops/attributes_of.hpp"
#include "core/ops/families.hpp"
#include "core/ops/shape_rules.hpp"

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

// A reduction to one bool: of how many there are, only whether there are any is asked.
void quantified(Steps& steps, Op op, const TensorType& operand, const Attributes& attributes) {
  const auto [dims, keepdim] = attributes.as<Op::any, Op::all>();
  const AttributesOf<Op::sum> sum{.dims = dims, .keepdim = keepdim};
  const AttributesOf<Op::cast> to_bool{.dtype = DType::boolean};
  if (op == Op::all) {
    steps.add(Op::logical_not, {steps.add(Op::sum, {steps.add(Op::logical_not, {0})}, sum)});
    return;
  }
  const int x = operand.dtype == DType::boolean ? 0 : steps.add(Op::cast, {0}, to_bool);
  steps.add(Op::cast, {steps.add(Op::sum, {x}, sum)}, to_bool);
}

// In f32, as the squares of an f16 overflow.
void norm(Steps& steps, const TensorType& operand, const Attributes& attributes) {
  const auto [p, dims, keepdim] = attributes.as<Op::norm>();
  const bool is_wide = operand.dtype == DType::f32;
  int x = is_wide ? 0 : steps.add(Op::cast, {0}, AttributesOf<Op::cast>{.dtype = DType::f32});
  x = steps.add(p == 2 ? Op::square : Op::abs, {x});
  if (p == 1 || p == 2)
    x = steps.add(Op::sum, {x}, AttributesOf<Op::sum>{.dims = dims, .keepdim = keepdim});
  else
    x = steps.add(Op::max, {x}, AttributesOf<Op::max>{.dims = dims, .keepdim = keepdim});
  if (p == 2) x = steps.add(Op::sqrt, {x});
  if (!is_wide) steps.add(Op::cast, {x}, AttributesOf<Op::cast>{.dtype = operand.dtype});
}

void one_hot(Steps& steps, const TensorType& ids, const Attributes& attributes) {
  const auto [classes, dtype] = attributes.as<Op::one_hot>();
  int x = 0;
  if (ids.dtype != DType::i64) x = steps.add(Op::cast, {x}, AttributesOf<Op::cast>{.dtype = DType::i64});
  Shape column = ids.shape;
  column.push_back(1);
  x = steps.add(Op::reshape, {x}, of_shape(column));
  x = steps.add(Op::eq, {x, steps.add(Op::arange, {}, AttributesOf<Op::arange>{.count = classes})});
  if (dtype != DType::boolean) steps.add(Op::cast, {x}, AttributesOf<Op::cast>{.dtype = dtype});
}

AttributesOf<Op::full> filled(const Shape& shape, double value, DType dtype) {
  return {.shape = Ints(shape.begin(), shape.end()), .value = value, .dtype = dtype};
}

void masked_fill(Steps& steps, const TensorType& operand, const Attributes& attributes) {
  const double value = attributes.as<Op::masked_fill>().value;
  steps.add(Op::where, {1, steps.add(Op::full, {}, filled({}, value, operand.dtype)), 0});
}

// Dimension after dimension from the last on: in row-major order a dimension and those behind it are one run,
// which is repeated as a whole.
void tile(Steps& steps, const Shape& operand, const Shape& result, const Attributes& attributes) {
  const Ints repeats = attributes.as<Op::tile>().repeats;
  Shape shape = operand;
  while (shape.rank() < result.rank()) shape.insert(0, 1);
  int x = steps.add(Op::reshape, {0}, of_shape(shape));
  bool is_copy = false;
  for (int d = result.rank() - 1; d >= 0; --d) {
    const int from_last = result.rank() - d;
    if (from_last > static_cast<int>(repeats.size())) break;
    const int64_t times = repeats[repeats.size() - static_cast<size_t>(from_last)];
    if (times == 1) continue;
    Shape run = {1, 1, 1};  // what stands before, the repetitions, what is repeated
    for (int i = 0; i < result.rank(); ++i) run[i < d ? 0 : 2] *= shape[i];
    x = steps.add(Op::reshape, {x}, of_shape(run));
    x = steps.add(Op::expand, {x}, AttributesOf<Op::expand>{.shape = {run[0], times, run[2]}});
    is_copy = run[2] > 1;
    shape[d] *= times;
    x = steps.add(Op::reshape, {x}, of_shape(shape));
  }
  if (!is_copy) steps.add(Op::contiguous, {x});
}

// `padding`: before and after, of the last dimension first.
int padded(Steps& steps, int x, TensorType type, const Ints& padding, double value) {
  for (size_t i = 0; 2 * i < padding.size(); ++i) {
    const int dim = type.shape.rank() - 1 - static_cast<int>(i);
    std::vector<int> parts;
    auto fill = [&](int64_t count) {
      Shape part = type.shape;
      part[dim] = count;
      if (count > 0) parts.push_back(steps.add(Op::full, {}, filled(part, value, type.dtype)));
    };
    fill(padding[2 * i]);
    parts.push_back(x);
    fill(padding[2 * i + 1]);
    if (parts.size() == 1) continue;
    x = steps.add(Op::cat, std::move(parts), AttributesOf<Op::cat>{.dim = dim});
    type.shape[dim] += padding[2 * i] + padding[2 * i + 1];
  }
  return x;
}

void pad(Steps& steps, const TensorType& operand, const Attributes& attributes) {
  const auto [padding, value] = attributes.as<Op::pad>();
  if (padded(steps, 0, operand, padding, value) == 0) steps.add(Op::contiguous, {0});
}

// All windows of x side by side, as the columns of a matrix [c / groups * taps, positions] for each of the
// batch and the groups; then one product with the weight for each.
Status convolution(Steps& steps, std::span<const TensorType> operands, const Shape& result,
                   const Attributes& attributes) {
  const auto given = attributes.as<Op::conv1d, Op::conv2d>();
  const Shape& weight = operands[1].shape;
  const int spatial = weight.rank() - 2;
  const Ints stride = PERI_TRY(shape_rules::per_dimension("stride", given.stride, spatial, 1, 1)),
             padding = PERI_TRY(shape_rules::per_dimension("padding", given.padding, spatial, 0, 0)),
             dilation = PERI_TRY(shape_rules::per_dimension("dilation", given.dilation, spatial, 1, 1));
  Ints around;  // of the last dimension first
  for (size_t i = padding.size(); i-- > 0;) around.insert(around.end(), 2, padding[i]);
  int x = padded(steps, 0, operands[0], around, 0);
  AttributesOf<Op::permute> permute{.dims = {0, 1}};
  int64_t depth = weight[1], positions = 1;
  for (int d = 0; d < spatial; ++d) {
    const auto i = static_cast<size_t>(d);
    const int64_t window = dilation[i] * (weight[d + 2] - 1) + 1;
    x = steps.add(Op::unfold, {x}, AttributesOf<Op::unfold>{.dim = d + 2, .size = window, .step = stride[i]});
    if (dilation[i] > 1)
      x = steps.add(
          Op::slice, {x},
          AttributesOf<Op::slice>{.dim = spatial + 2 + d, .start = 0, .stop = window, .step = dilation[i]});
    permute.dims.push_back(spatial + 2 + d);
    depth *= weight[d + 2];
    positions *= result[d + 2];
  }
  for (int d = 0; d < spatial; ++d) permute.dims.push_back(d + 2);
  x = steps.add(Op::permute, {x}, permute);
  x = steps.add(Op::reshape, {x}, of_shape({result[0], given.groups, depth, positions}));
  const int kernels = steps.add(Op::reshape, {1}, of_shape({given.groups, weight[0] / given.groups, depth}));
  x = steps.add(Op::matmul, {kernels, x});
  x = steps.add(Op::reshape, {x}, of_shape(result));
  if (operands.size() == 3) {
    Shape bias = {weight[0]};
    for (int d = 0; d < spatial; ++d) bias.push_back(1);
    steps.add(Op::add, {x, steps.add(Op::reshape, {2}, of_shape(bias))});
  }
  return {};
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
    case CompositeOp::any:
    case CompositeOp::all:
      quantified(steps, op, operands[0], completed);
      break;
    case CompositeOp::norm:
      norm(steps, operands[0], completed);
      break;
    case CompositeOp::one_hot:
      one_hot(steps, operands[0], completed);
      break;
    case CompositeOp::masked_fill:
      masked_fill(steps, operands[0], completed);
      break;
    case CompositeOp::tile:
      tile(steps, operands[0].shape, result.shape, completed);
      break;
    case CompositeOp::pad:
      pad(steps, operands[0], completed);
      break;
    case CompositeOp::conv1d:
    case CompositeOp::conv2d:
      PERI_TRY(convolution(steps, operands, result.shape, completed));
      break;
  }
  return steps.take();
}

}  // namespace peri
