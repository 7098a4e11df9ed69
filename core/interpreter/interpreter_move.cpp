// The reference for ops that only move elements: each says which element of the operand stands at an index of
// the result.
#include "core/interpreter/interpreter_ops.hpp"
#include "core/ops/families.hpp"
#include "core/types/scalar.hpp"

namespace peri::reference {
namespace {

Value permuted(const OpCall& call, const Ints& dims) {
  return gather(call.operand(0), call.type, [&](Index index) {
    Index from{};
    for (size_t d = 0; d < dims.size(); ++d) from[dims[d]] = index[d];
    return element_of(from, call.shape(0));
  });
}

Value embedded(const OpCall& call) {
  const Value& ids = call.operand(0);
  const Shape& table = call.shape(1);
  int last = call.type.shape.rank() - 1;
  return gather(call.operand(1), call.type, [&](Index index) {
    int64_t id = ids.integers()[element_of(index, ids.type.shape)];
    return id < 0 || id >= table[0] ? -1 : id * table[1] + index[last];
  });
}

// An index for each element of the result.
Value gathered_by_element(const OpCall& call) {
  const int dim = call.attributes.as<Op::gather>().dim;
  const Value::Integers& chosen = call.operand(1).integers();
  return gather(call.operand(0), call.type, [&](Index index) -> int64_t {
    const int64_t at = chosen[element_of(index, call.type.shape)];
    if (at < 0 || at >= call.shape(0)[dim]) return -1;
    index[dim] = at;
    return element_of(index, call.shape(0));
  });
}

Value selected(const OpCall& call) {
  const int dim = call.attributes.as<Op::index_select>().dim;
  const Value::Integers& chosen = call.operand(1).integers();
  return gather(call.operand(0), call.type, [&](Index index) -> int64_t {
    int64_t at = chosen[index[dim]];
    if (at < 0 || at >= call.shape(0)[dim]) return -1;
    index[dim] = at;
    return element_of(index, call.shape(0));
  });
}

}  // namespace

Value join(std::span<const Value* const> operands, int dim, const TensorType& type) {
  Value result = zeros(type);
  int64_t before = 0;
  for (const Value* operand : operands) {
    auto write = [&](auto& out, const auto& in) {
      for (size_t i = 0; i < in.size(); ++i) {
        Index index = index_of(static_cast<int64_t>(i), operand->type.shape);
        index[dim] += before;
        out[element_of(index, type.shape)] = in[i];
      }
    };
    if (is_float(type.dtype))
      write(std::get<Value::Floats>(result.elements), operand->floats());
    else
      write(std::get<Value::Integers>(result.elements), operand->integers());
    before += operand->type.shape[dim];
  }
  return result;
}

Value part(const Value& whole, int dim, int64_t start, int64_t step, const TensorType& type) {
  return gather(whole, type, [&](Index index) {
    index[dim] = start + index[dim] * step;
    return element_of(index, whole.type.shape);
  });
}

Value retyped(const OpCall& call) {
  Value result = call.operand(0);
  result.type = call.type;
  return result;
}

Value transposed(const OpCall& call) {
  Ints dims;
  for (int d = 0; d < call.type.shape.rank(); ++d) dims.push_back(d);
  const auto [dim0, dim1] = call.attributes.as<Op::transpose>();
  std::swap(dims[dim0], dims[dim1]);
  return permuted(call, dims);
}

Value stacked(const OpCall& call) {
  const int dim = call.attributes.as<Op::stack>().dim;
  std::vector<Value> with_dim;
  for (const Value* operand : call.operands) {
    with_dim.push_back(*operand);
    with_dim.back().type.shape.insert(dim, 1);
  }
  std::vector<const Value*> pointers;
  for (const Value& value : with_dim) pointers.push_back(&value);
  return join(pointers, dim, call.type);
}

// Where an index comes twice, the later slice stays.
static Value with_slices(const OpCall& call) {
  const int dim = call.attributes.as<Op::index_copy>().dim;
  const Value::Integers& chosen = call.operand(1).integers();
  Value result = call.operand(0);
  auto write = [&](auto& out, const auto& source) {
    for (size_t i = 0; i < source.size(); ++i) {
      Index index = index_of(static_cast<int64_t>(i), call.shape(2));
      int64_t at = chosen[index[dim]];
      if (at < 0 || at >= call.shape(0)[dim]) continue;
      index[dim] = at;
      out[element_of(index, call.shape(0))] = source[i];
    }
  };
  if (is_float(call.type.dtype))
    write(std::get<Value::Floats>(result.elements), call.operand(2).floats());
  else
    write(std::get<Value::Integers>(result.elements), call.operand(2).integers());
  return result;
}

// Each element of the source, in ascending order, put into the element that its index names:
// put(element, source element).
template <class Put>
static Value with_elements(const OpCall& call, Put put) {
  const int dim = call.attributes.get<"dim">();
  const Shape& chosen = call.shape(1);
  Value result = call.operand(0);
  auto write = [&](auto& out, const auto& source) {
    for (int64_t i = 0; i < numel(chosen); ++i) {
      const Index from = index_of(i, chosen);
      Index to = from;
      to[dim] = call.operand(1).integers()[i];
      if (to[dim] < 0 || to[dim] >= call.shape(0)[dim]) continue;
      put(out[element_of(to, call.shape(0))], source[element_of(from, call.shape(2))]);
    }
  };
  if (is_float(call.type.dtype)) {
    auto& out = std::get<Value::Floats>(result.elements);
    write(out, call.operand(2).floats());
    for (double& x : out) x = store(call.type.dtype, x);
  } else {
    auto& out = std::get<Value::Integers>(result.elements);
    write(out, call.operand(2).integers());
    for (int64_t& x : out) x = wrap(call.type.dtype, x);
  }
  return result;
}

Value scattered(const OpCall& call) {
  switch (op_of<ScatterOp>(call.op)) {
    case ScatterOp::index_copy:
      return with_slices(call);
    case ScatterOp::scatter:
      return with_elements(call, [](auto& element, auto x) { element = x; });
    case ScatterOp::scatter_add:
      return with_elements(call, [](auto& element, auto x) { element = scalar::add(element, x); });
  }
  PERI_CHECK(false, "not a scatter");
}

Value viewed(const OpCall& call) {
  const Attributes& attributes = call.attributes;
  switch (op_of<ViewOp>(call.op)) {
    case ViewOp::reshape:
      return retyped(call);
    case ViewOp::permute:
      return permuted(call, attributes.as<Op::permute>().dims);
    case ViewOp::slice: {
      const auto slice = attributes.as<Op::slice>();
      return part(call.operand(0), slice.dim, slice.start, slice.step, call.type);
    }
    case ViewOp::expand:
      return gather(call.operand(0), call.type, [&](const Index& index) {
        return broadcast_element(index, call.type.shape.rank(), call.shape(0));
      });
    case ViewOp::unfold: {
      const auto unfold = attributes.as<Op::unfold>();
      const int last = call.type.shape.rank() - 1;
      return gather(call.operand(0), call.type, [&](Index index) {
        index[unfold.dim] = index[unfold.dim] * unfold.step + index[last];
        return element_of(index, call.shape(0));
      });
    }
    case ViewOp::shard: {
      const auto [dim, group] = attributes.as<Op::shard>();
      return part(call.operand(0), dim, group.index_of(call.rank) * call.type.shape[dim], 1, call.type);
    }
  }
  PERI_CHECK(false, "not a view");
}

Value copied(const OpCall& call) {
  switch (op_of<CopyOp>(call.op)) {
    case CopyOp::contiguous:
      return retyped(call);
    case CopyOp::cat:
      return join(call.operands, call.attributes.as<Op::cat>().dim, call.type);
  }
  PERI_CHECK(false, "not a copy");
}

Value gathered(const OpCall& call) {
  switch (op_of<GatherOp>(call.op)) {
    case GatherOp::embedding:
      return embedded(call);
    case GatherOp::index_select:
      return selected(call);
    case GatherOp::gather:
      return gathered_by_element(call);
  }
  PERI_CHECK(false, "not a gather");
}

}  // namespace peri::reference
