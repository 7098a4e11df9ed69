// The reference for composite ops by their own meaning, not by their decomposition.
#include <cmath>
#include <limits>

#include "core/interpreter/interpreter_ops.hpp"
#include "core/ops/families.hpp"
#include "core/ops/shape_rules.hpp"

namespace peri::reference {
namespace {

Value quantified(const OpCall& call) {
  Value result = zeros(call.type);
  const bool is_all = call.op == Op::all;
  const std::vector<std::vector<int64_t>> elements = elements_per_result(call);
  auto count_nonzero = [](const auto& in, const std::vector<int64_t>& of) {
    size_t count = 0;
    for (int64_t i : of) count += in[i] != 0;
    return count;
  };
  for (size_t i = 0; i < elements.size(); ++i) {
    const size_t count =
        std::visit([&](const auto& in) { return count_nonzero(in, elements[i]); }, call.operand(0).elements);
    std::get<Value::Integers>(result.elements)[i] = is_all ? count == elements[i].size() : count > 0;
  }
  return result;
}

Value norm(const OpCall& call) {
  Value result = zeros(call.type);
  const double p = call.attributes.as<Op::norm>().p;
  const std::vector<std::vector<int64_t>> elements = elements_per_result(call);
  for (size_t i = 0; i < elements.size(); ++i) {
    double total = 0;
    for (int64_t element : elements[i]) {
      const double x = std::fabs(call.operand(0).floats()[element]);
      total = p == 1 ? total + x : p == 2 ? total + x * x : x > total || x != x ? x : total;
    }
    std::get<Value::Floats>(result.elements)[i] = store(call.type.dtype, p == 2 ? std::sqrt(total) : total);
  }
  return result;
}

Value one_hot(const OpCall& call) {
  Value result = zeros(call.type);
  const int64_t classes = call.attributes.as<Op::one_hot>().classes;
  const Value::Integers& ids = call.operand(0).integers();
  auto set = [&](auto& out) {
    for (size_t i = 0; i < ids.size(); ++i)
      if (ids[i] >= 0 && ids[i] < classes)
        out[i * static_cast<size_t>(classes) + static_cast<size_t>(ids[i])] = 1;
  };
  std::visit(set, result.elements);
  return result;
}

// `value` as an element of one of the two kinds.
template <class Elements>
auto element_of_value(const Value& like, const Elements&, double value) {
  if constexpr (std::is_same_v<Elements, Value::Floats>)
    return store(like.type.dtype, value);
  else
    return static_cast<int64_t>(value);
}

Value masked_fill(const OpCall& call) {
  Value result = call.operand(0);
  const double value = call.attributes.as<Op::masked_fill>().value;
  auto fill = [&](auto& out) {
    for (int64_t i = 0; i < numel(call.type.shape); ++i) {
      const Index index = index_of(i, call.type.shape);
      if (call.operand(1).integers()[broadcast_element(index, call.type.shape.rank(), call.shape(1))])
        out[i] = element_of_value(result, out, value);
    }
  };
  std::visit(fill, result.elements);
  return result;
}

Value tiled(const OpCall& call) {
  const int added = call.type.shape.rank() - call.shape(0).rank();
  return gather(call.operand(0), call.type, [&](const Index& index) {
    Index from{};
    for (int d = 0; d < call.shape(0).rank(); ++d) from[d] = index[d + added] % call.shape(0)[d];
    return element_of(from, call.shape(0));
  });
}

Value padded(const OpCall& call) {
  const auto [padding, value] = call.attributes.as<Op::pad>();
  const int rank = call.type.shape.rank();
  Value result = zeros(call.type);
  auto fill = [&](auto& out) {
    const auto& in = std::get<std::decay_t<decltype(out)>>(call.operand(0).elements);
    for (int64_t i = 0; i < numel(call.type.shape); ++i) {
      Index index = index_of(i, call.type.shape);
      bool is_inside = true;
      for (int d = 0; d < rank; ++d) {
        const auto pair = 2 * static_cast<size_t>(rank - 1 - d);
        index[d] -= pair < padding.size() ? padding[pair] : 0;
        is_inside = is_inside && index[d] >= 0 && index[d] < call.shape(0)[d];
      }
      out[i] = is_inside ? in[element_of(index, call.shape(0))] : element_of_value(result, out, value);
    }
  };
  std::visit(fill, result.elements);
  return result;
}

// What a convolution's attributes are of each spatial dimension.
struct Steps {
  Ints stride, padding, dilation;
};
Steps steps_of(const OpCall& call) {
  const auto given = call.attributes.as<Op::conv1d, Op::conv2d>();
  const int spatial = call.shape(1).rank() - 2;
  auto of = [&](const char* name, const Ints& list, int64_t fallback, int64_t least) {
    Result<Ints> all = shape_rules::per_dimension(name, list, spatial, fallback, least);
    PERI_CHECK(all, "the shape rule has checked it");
    return *all;
  };
  return {of("stride", given.stride, 1, 1), of("padding", given.padding, 0, 0),
          of("dilation", given.dilation, 1, 1)};
}

// The sum over the channels of its group and the kernel's positions, for each element.
Value convolved(const OpCall& call) {
  Value result = zeros(call.type);
  const auto& [stride, padding, dilation] = steps_of(call);
  const Shape &x = call.shape(0), &weight = call.shape(1);
  const int64_t groups = call.attributes.get<"groups">(), of_group = weight[0] / groups;
  for (int64_t i = 0; i < numel(call.type.shape); ++i) {
    const Index to = index_of(i, call.type.shape);
    double sum = call.operands.size() == 3 ? call.operand(2).floats()[to[1]] : 0;
    for (int64_t tap = 0; tap < numel(weight) / weight[0]; ++tap) {
      const int64_t element = to[1] * (numel(weight) / weight[0]) + tap;
      const Index at = index_of(element, weight);
      Index from = {to[0], to[1] / of_group * weight[1] + at[1]};
      bool is_inside = true;
      for (int d = 2; d < x.rank(); ++d) {
        const auto k = static_cast<size_t>(d - 2);
        from[d] = to[d] * stride[k] + at[d] * dilation[k] - padding[k];
        is_inside = is_inside && from[d] >= 0 && from[d] < x[d];
      }
      if (is_inside) sum += call.operand(0).floats()[element_of(from, x)] * call.operand(1).floats()[element];
    }
    std::get<Value::Floats>(result.elements)[i] = store(call.type.dtype, sum);
  }
  return result;
}

}  // namespace

Value composite(const OpCall& call) {
  switch (op_of<CompositeOp>(call.op)) {
    case CompositeOp::linear:
      return linear(call);
    case CompositeOp::transpose:
      return transposed(call);
    case CompositeOp::stack:
      return stacked(call);
    case CompositeOp::any:
    case CompositeOp::all:
      return quantified(call);
    case CompositeOp::norm:
      return norm(call);
    case CompositeOp::one_hot:
      return one_hot(call);
    case CompositeOp::masked_fill:
      return masked_fill(call);
    case CompositeOp::tile:
      return tiled(call);
    case CompositeOp::pad:
      return padded(call);
    case CompositeOp::conv1d:
    case CompositeOp::conv2d:
      return convolved(call);
  }
  PERI_CHECK(false, "not a composite op");
}

}  // namespace peri::reference
