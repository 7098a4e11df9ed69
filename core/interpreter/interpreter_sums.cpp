// The reference for ops that accumulate: reductions, norms, matmul, rope, attention. Sums run in double in
// ascending order.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/interpreter/interpreter_ops.hpp"
#include "core/types/scalar.hpp"

namespace peri::reference {
namespace {

Value::Floats& floats(Value& value) {
  return std::get<Value::Floats>(value.elements);
}
Value::Integers& integers(Value& value) {
  return std::get<Value::Integers>(value.elements);
}

// The reduced dimensions as a bit set.
uint32_t reduced_dims(const Call& call) {
  if (call.attributes.has("dim")) return 1u << call.dim();
  uint32_t dims = 0;
  for (int64_t d : call.attributes.get<Ints>("dims")) dims |= 1u << d;
  return dims ? dims : ~0u;
}

// For each element of the result, the operand's elements that are reduced to it, ascending.
std::vector<std::vector<int64_t>> elements_per_result(const Call& call) {
  std::vector<std::vector<int64_t>> elements(static_cast<size_t>(numel(call.type.shape)));
  uint32_t dims = reduced_dims(call);
  for (int64_t i = 0; i < numel(call.shape(0)); ++i) {
    Index index = index_of(i, call.shape(0));
    int64_t result = 0;
    for (int d = 0; d < call.shape(0).rank(); ++d)
      if (!(dims >> d & 1u)) result = result * call.shape(0)[d] + index[d];
    elements[result].push_back(i);
  }
  return elements;
}

// One result from its elements; T is double or int64_t.
template <class T>
T reduce(Op op, const std::vector<T>& in, const std::vector<int64_t>& elements) {
  if (op == Op::argmax || op == Op::argmin) {
    size_t best = 0;
    for (size_t i = 1; i < elements.size(); ++i) {
      T x = in[elements[i]], y = in[elements[best]];
      bool is_better = op == Op::argmax ? x > y : x < y;
      if (y == y && (x != x || is_better)) best = i;
    }
    return static_cast<T>(best);
  }
  if (op == Op::max || op == Op::min) {
    T result = in[elements[0]];  // the shape rule refuses an empty extremum
    for (int64_t i : elements)
      result = op == Op::max ? scalar::maximum(result, in[i]) : scalar::minimum(result, in[i]);
    return result;
  }
  T result = op == Op::prod ? T(1) : T(0);
  for (int64_t i : elements)
    result = op == Op::prod ? scalar::multiply(result, in[i]) : scalar::add(result, in[i]);
  if constexpr (std::is_same_v<T, double>)
    if (op == Op::mean) result /= static_cast<double>(elements.size());
  return result;
}

// Calls `row(offset, stride, length)` for each line along `dim`.
template <class Row>
void for_each_line(const Shape& shape, int dim, Row row) {
  if (numel(shape) == 0) return;
  int64_t stride = 1;
  for (int d = dim + 1; d < shape.rank(); ++d) stride *= shape[d];
  int64_t length = shape.rank() == 0 ? 1 : shape[dim];
  for (int64_t i = 0; i < numel(shape) / length; ++i)
    row(i / stride * stride * length + i % stride, stride, length);
}

// exp(x - max) / sum, in place.
void softmax(std::vector<double>& x) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (double v : x) largest = scalar::maximum(largest, v);
  for (double& v : x) sum += v = std::exp(v - largest);
  for (double& v : x) v /= sum;
}

}  // namespace

Value reduction(const Call& call) {
  Value result = zeros(call.type);
  std::vector<std::vector<int64_t>> elements = elements_per_result(call);
  bool from_floats = is_float(call.operand(0).type.dtype);
  for (size_t i = 0; i < elements.size(); ++i) {
    if (!from_floats) {
      integers(result)[i] = reduce(call.op, call.operand(0).integers(), elements[i]);
      continue;
    }
    double value = reduce(call.op, call.operand(0).floats(), elements[i]);
    if (is_float(call.type.dtype))
      floats(result)[i] = store(call.type.dtype, value);
    else
      integers(result)[i] = static_cast<int64_t>(value);  // argmax, argmin
  }
  return result;
}

Value normalised(const Call& call) {
  Value result = zeros(call.type);
  int dim = call.op == Op::softmax ? call.dim() : call.type.shape.rank() - 1;
  const Value::Floats& in = call.operand(0).floats();
  for_each_line(call.type.shape, dim, [&](int64_t offset, int64_t stride, int64_t length) {
    std::vector<double> x;
    for (int64_t i = 0; i < length; ++i) x.push_back(in[offset + i * stride]);
    if (call.op == Op::softmax) {
      softmax(x);
    } else {
      double mean = 0, square = 0;
      if (call.op == Op::layer_norm)
        for (double v : x) mean += v / static_cast<double>(length);
      for (double v : x) square += (v - mean) * (v - mean) / static_cast<double>(length);
      double scale = 1 / std::sqrt(square + call.attributes.get<double>("eps"));
      for (int64_t i = 0; i < length; ++i) {
        double bias = call.operands.size() == 3 ? call.operand(2).floats()[i] : 0.0;
        x[i] = (x[i] - mean) * scale * call.operand(1).floats()[i] + bias;
      }
    }
    for (int64_t i = 0; i < length; ++i) floats(result)[offset + i * stride] = store(call.type.dtype, x[i]);
  });
  return result;
}

// [..., m, k] x [..., k, n]; for linear [..., m, k] x [n, k], and its bias.
Value matmul(const Call& call) {
  Value result = zeros(call.type);
  bool linear = call.op == Op::linear;
  const Shape &a = call.shape(0), &b = call.shape(1);
  int rank = call.type.shape.rank();
  int64_t depth = a[a.rank() - 1];
  int64_t b_stride = linear ? 1 : b[b.rank() - 1];
  for (int64_t i = 0; i < numel(call.type.shape); ++i) {
    Index index = index_of(i, call.type.shape);
    int64_t column = index[rank - 1];
    Index first = index;  // of the row of a and of the column of b, at depth 0
    first[rank - 1] = 0;
    int64_t a_at = broadcast_element(first, rank, a);
    int64_t b_at = column * depth;
    if (!linear) {
      first[rank - 2] = 0;
      first[rank - 1] = column;
      b_at = broadcast_element(first, rank, b);
    }
    double sum = 0;
    for (int64_t k = 0; k < depth; ++k)
      sum += call.operand(0).floats()[a_at + k] * call.operand(1).floats()[b_at + k * b_stride];
    if (call.operands.size() == 3) sum += call.operand(2).floats()[column];
    floats(result)[i] = store(call.type.dtype, sum);
  }
  return result;
}

Value rope(const Call& call) {
  Value result = zeros(call.type);
  const Value::Floats& in = call.operand(0).floats();
  int rank = call.type.shape.rank();
  int64_t width = call.type.shape[rank - 1], half = width / 2;
  for (int64_t i = 0; i < numel(call.type.shape); ++i) {
    Index index = index_of(i, call.type.shape);
    int64_t d = index[rank - 1];
    auto position = static_cast<double>(call.operand(1).integers()[index[rank - 3]]);
    double angle = position * std::pow(call.attributes.get<double>("base"),
                                       -2.0 * static_cast<double>(d % half) / static_cast<double>(width));
    double turned = d < half ? -in[i + half] : in[i - half];
    floats(result)[i] = store(call.type.dtype, in[i] * std::cos(angle) + turned * std::sin(angle));
  }
  return result;
}

Value attention(const Call& call) {
  Value result = zeros(call.type);
  const Value::Floats &q = call.operand(0).floats(), &k = call.operand(1).floats(),
                      &v = call.operand(2).floats();
  int64_t queries = call.shape(0)[0], heads = call.shape(0)[1], width = call.shape(0)[2];
  int64_t keys = call.shape(1)[0], key_heads = call.shape(1)[1];
  bool causal = call.attributes.get<bool>("causal");
  double scale = call.attributes.get<double>("scale");
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(width));
  for (int64_t i = 0; i < queries; ++i)
    for (int64_t h = 0; h < heads; ++h) {
      int64_t position = call.operands.size() == 4 ? call.operand(3).integers()[i] : keys - queries + i;
      int64_t seen = causal ? std::clamp<int64_t>(position + 1, 0, keys) : keys;
      int64_t key_head = h / (heads / key_heads);
      std::vector<double> weights(static_cast<size_t>(seen));
      for (int64_t t = 0; t < seen; ++t)
        for (int64_t d = 0; d < width; ++d)
          weights[t] += q[(i * heads + h) * width + d] * k[(t * key_heads + key_head) * width + d] * scale;
      softmax(weights);
      for (int64_t d = 0; d < width; ++d) {
        double sum = 0;  // stays 0 for a query that sees no key
        for (int64_t t = 0; t < seen; ++t) sum += weights[t] * v[(t * key_heads + key_head) * width + d];
        floats(result)[(i * heads + h) * width + d] = store(call.type.dtype, sum);
      }
    }
  return result;
}

}  // namespace peri::reference
