// The reference for ops that accumulate: reductions, norms, matmul, rope, attention. Sums run in double in
// ascending order.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/interpreter/interpreter_ops.hpp"
#include "core/ops/families.hpp"
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
uint32_t reduced_dims(const OpCall& call) {
  if (const std::optional<int> dim = call.attributes.find<"dim">()) return 1u << *dim;
  uint32_t dims = 0;
  for (int64_t d : call.attributes.get<"dims">()) dims |= 1u << d;
  return dims ? dims : ~0u;
}

// combine(... combine(combine(first, x0), x1) ..., xn)
template <class T, class Combine>
T folded(T first, const std::vector<T>& in, const std::vector<int64_t>& elements, Combine combine) {
  for (int64_t i : elements) first = combine(first, in[i]);
  return first;
}

// One result from its elements; T is double or int64_t. The shape rule refuses an extremum of nothing.
template <class T>
T reduce(ReductionOp op, const std::vector<T>& in, const std::vector<int64_t>& elements) {
  auto add = [](T x, T y) { return scalar::add(x, y); };
  switch (op) {
    case ReductionOp::sum:
      return folded(T(0), in, elements, add);
    case ReductionOp::mean:  // of floats only
      return folded(T(0), in, elements, add) / static_cast<T>(elements.size());
    case ReductionOp::prod:
      return folded(T(1), in, elements, [](T x, T y) { return scalar::multiply(x, y); });
    case ReductionOp::max:
      return folded(in[elements[0]], in, elements, [](T x, T y) { return scalar::maximum(x, y); });
    case ReductionOp::min:
      return folded(in[elements[0]], in, elements, [](T x, T y) { return scalar::minimum(x, y); });
  }
  PERI_CHECK(false, "not a reduction");
}

template <class T>
bool is_better(ArgReductionOp op, T x, T best) {
  switch (op) {
    case ArgReductionOp::argmax:
      return x > best;
    case ArgReductionOp::argmin:
      return x < best;
  }
  PERI_CHECK(false, "not an arg-reduction");
}

// The position of the first best; the first NaN if there is one.
template <class T>
int64_t find_best(ArgReductionOp op, const std::vector<T>& in, const std::vector<int64_t>& elements) {
  size_t best = 0;
  for (size_t i = 1; i < elements.size(); ++i) {
    T x = in[elements[i]], y = in[elements[best]];
    if (y == y && (x != x || is_better(op, x, y))) best = i;
  }
  return static_cast<int64_t>(best);
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

template <class T>
T combined(ScanOp op, T total, T x) {
  switch (op) {
    case ScanOp::cumsum:
      return scalar::add(total, x);
    case ScanOp::cumprod:
      return scalar::multiply(total, x);
  }
  PERI_CHECK(false, "not a scan");
}

}  // namespace

std::vector<std::vector<int64_t>> elements_per_result(const OpCall& call) {
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

Value scanned(const OpCall& call) {
  Value result = zeros(call.type);
  const auto op = op_of<ScanOp>(call.op);
  auto scan = [&](const auto& in, auto& out) {
    for_each_line(call.type.shape, call.attributes.get<"dim">(),
                  [&](int64_t offset, int64_t stride, int64_t length) {
                    auto total = in[offset];
                    for (int64_t i = 0; i < length; ++i) {
                      if (i > 0) total = combined(op, total, in[offset + i * stride]);
                      out[offset + i * stride] = total;
                    }
                  });
  };
  if (!is_float(call.type.dtype)) {
    scan(call.operand(0).integers(), integers(result));
    return result;
  }
  scan(call.operand(0).floats(), floats(result));
  for (double& x : floats(result)) x = store(call.type.dtype, x);
  return result;
}

Value reduction(const OpCall& call) {
  Value result = zeros(call.type);
  const auto op = op_of<ReductionOp>(call.op);
  std::vector<std::vector<int64_t>> elements = elements_per_result(call);
  for (size_t i = 0; i < elements.size(); ++i) {
    if (is_float(call.operand(0).type.dtype))
      floats(result)[i] = store(call.type.dtype, reduce(op, call.operand(0).floats(), elements[i]));
    else
      integers(result)[i] = reduce(op, call.operand(0).integers(), elements[i]);
  }
  return result;
}

Value arg_reduction(const OpCall& call) {
  Value result = zeros(call.type);
  const auto op = op_of<ArgReductionOp>(call.op);
  std::vector<std::vector<int64_t>> elements = elements_per_result(call);
  for (size_t i = 0; i < elements.size(); ++i)
    integers(result)[i] =
        std::visit([&](const auto& in) { return find_best(op, in, elements[i]); }, call.operand(0).elements);
  return result;
}

std::vector<Value> sorted(const OpCall& call) {
  const auto dim = call.attributes.get<"dim">();
  const bool descending = op_of<SortingOp>(call.op) == SortingOp::topk
                              ? call.attributes.as<Op::topk>().largest
                              : call.attributes.as<Op::sort>().descending;
  Value values = zeros(call.type), positions = zeros({DType::i64, call.type.shape});
  const int64_t kept = call.type.shape[dim];
  auto sort_all = [&](const auto& in, auto& out) {
    // NaN is the largest; the other values are as they are.
    auto less = [&](int64_t a, int64_t b) {
      const auto x = in[descending ? b : a], y = in[descending ? a : b];
      return y != y ? x == x : x < y;
    };
    int64_t line = 0;
    for_each_line(call.shape(0), dim, [&](int64_t offset, int64_t stride, int64_t length) {
      std::vector<int64_t> elements;
      for (int64_t i = 0; i < length; ++i) elements.push_back(offset + i * stride);
      std::stable_sort(elements.begin(), elements.end(), less);
      for (int64_t i = 0; i < kept; ++i) {
        const int64_t to = line / stride * stride * kept + line % stride + i * stride;
        out[to] = in[elements[i]];
        integers(positions)[to] = (elements[i] - offset) / stride;
      }
      ++line;
    });
  };
  std::visit([&](const auto& in) { sort_all(in, std::get<std::decay_t<decltype(in)>>(values.elements)); },
             call.operand(0).elements);
  return {std::move(values), std::move(positions)};
}

// (x - mean) / sqrt(mean of (x - mean)^2 + eps) * weight + bias, in place; the mean is 0 for rms_norm.
static void scale_line(const OpCall& call, double mean, std::vector<double>& x) {
  double square = 0;
  for (double v : x) square += (v - mean) * (v - mean) / static_cast<double>(x.size());
  double scale = 1 / std::sqrt(square + call.attributes.get<"eps">());
  for (size_t i = 0; i < x.size(); ++i) {
    double bias = call.operands.size() == 3 ? call.operand(2).floats()[i] : 0.0;
    x[i] = (x[i] - mean) * scale * call.operand(1).floats()[i] + bias;
  }
}

static void normalise_line(const OpCall& call, std::vector<double>& x) {
  switch (op_of<NormalisationOp>(call.op)) {
    case NormalisationOp::softmax:
      return softmax(x);
    case NormalisationOp::rms_norm:
      return scale_line(call, 0, x);
    case NormalisationOp::layer_norm: {
      double mean = 0;
      for (double v : x) mean += v / static_cast<double>(x.size());
      return scale_line(call, mean, x);
    }
  }
  PERI_CHECK(false, "not a normalisation");
}

Value normalised(const OpCall& call) {
  Value result = zeros(call.type);
  int dim = call.attributes.find<"dim">().value_or(call.type.shape.rank() - 1);
  const Value::Floats& in = call.operand(0).floats();
  for_each_line(call.type.shape, dim, [&](int64_t offset, int64_t stride, int64_t length) {
    std::vector<double> x;
    for (int64_t i = 0; i < length; ++i) x.push_back(in[offset + i * stride]);
    normalise_line(call, x);
    for (int64_t i = 0; i < length; ++i) floats(result)[offset + i * stride] = store(call.type.dtype, x[i]);
  });
  return result;
}

// A row of operand a, which begins at element `a`, times a column of operand b; both of `depth` elements.
static double product(const OpCall& call, int64_t a, int64_t b, int64_t b_stride, int64_t depth) {
  double sum = 0;
  for (int64_t k = 0; k < depth; ++k)
    sum += call.operand(0).floats()[a + k] * call.operand(1).floats()[b + k * b_stride];
  return sum;
}

// [..., m, k] x [..., k, n]
static Value multiplied(const OpCall& call) {
  Value result = zeros(call.type);
  const Shape &a = call.shape(0), &b = call.shape(1);
  int rank = call.type.shape.rank();
  for (int64_t i = 0; i < numel(call.type.shape); ++i) {
    Index row = index_of(i, call.type.shape), column = row;  // both at depth 0
    row[rank - 1] = 0;
    column[rank - 2] = 0;
    double sum = product(call, broadcast_element(row, rank, a), broadcast_element(column, rank, b),
                         b[b.rank() - 1], a[a.rank() - 1]);
    floats(result)[i] = store(call.type.dtype, sum);
  }
  return result;
}

// A vector a is one row, a vector b one column; the result lacks that dimension.
static Value multiplied_as_matrices(const OpCall& call) {
  Value a = call.operand(0), b = call.operand(1);
  TensorType type = call.type;
  if (b.type.shape.rank() == 1) {
    b.type.shape.push_back(1);
    type.shape.push_back(1);
  }
  if (a.type.shape.rank() == 1) {
    a.type.shape.insert(0, 1);
    type.shape.insert(type.shape.rank() - 1, 1);
  }
  const Value* const operands[] = {&a, &b};
  Value result = multiplied({call.op, operands, call.attributes, type, call.rank});
  result.type = call.type;
  return result;
}

Value matmul(const OpCall& call) {
  switch (op_of<MatmulOp>(call.op)) {
    case MatmulOp::matmul:
      return call.shape(0).rank() == 1 || call.shape(1).rank() == 1 ? multiplied_as_matrices(call)
                                                                    : multiplied(call);
  }
  PERI_CHECK(false, "not a product");
}

// [..., m, k] x [n, k] [+ bias [n]]
Value linear(const OpCall& call) {
  Value result = zeros(call.type);
  const Shape& a = call.shape(0);
  int64_t depth = a[a.rank() - 1], columns = call.shape(1)[0];
  for (int64_t i = 0; i < numel(call.type.shape); ++i) {
    int64_t row = i / columns, column = i % columns;
    double sum = product(call, row * depth, column * depth, 1, depth);
    if (call.operands.size() == 3) sum += call.operand(2).floats()[column];
    floats(result)[i] = store(call.type.dtype, sum);
  }
  return result;
}

static Value rotated(const OpCall& call) {
  Value result = zeros(call.type);
  const Value::Floats& in = call.operand(0).floats();
  int rank = call.type.shape.rank();
  int64_t width = call.type.shape[rank - 1], half = width / 2;
  const double base = call.attributes.as<Op::rope>().base;
  for (int64_t i = 0; i < numel(call.type.shape); ++i) {
    Index index = index_of(i, call.type.shape);
    int64_t d = index[rank - 1];
    auto position = static_cast<double>(call.operand(1).integers()[index[rank - 3]]);
    double angle =
        position * std::pow(base, -2.0 * static_cast<double>(d % half) / static_cast<double>(width));
    double partner = d < half ? -in[i + half] : in[i - half];
    floats(result)[i] = store(call.type.dtype, in[i] * std::cos(angle) + partner * std::sin(angle));
  }
  return result;
}

Value rope(const OpCall& call) {
  switch (op_of<RopeOp>(call.op)) {
    case RopeOp::rope:
      return rotated(call);
  }
  PERI_CHECK(false, "not a rotation");
}

static Value attended(const OpCall& call) {
  Value result = zeros(call.type);
  const Value::Floats &q = call.operand(0).floats(), &k = call.operand(1).floats(),
                      &v = call.operand(2).floats();
  int64_t queries = call.shape(0)[0], heads = call.shape(0)[1], width = call.shape(0)[2];
  int64_t keys = call.shape(1)[0], key_heads = call.shape(1)[1];
  auto [scale, causal] = call.attributes.as<Op::attention>();
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

Value attention(const OpCall& call) {
  switch (op_of<AttentionOp>(call.op)) {
    case AttentionOp::attention:
      return attended(call);
  }
  PERI_CHECK(false, "not an attention");
}

}  // namespace peri::reference
