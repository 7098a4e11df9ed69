// Which function computes an op, and the walking of shapes.
#include "core/interpreter/interpreter_ops.hpp"

#include "core/ops/families.hpp"
#include "core/types/scalar.hpp"

namespace peri {

Value zeros(const TensorType& type) {
  auto count = static_cast<size_t>(numel(type.shape));
  if (is_float(type.dtype)) return {type, Value::Floats(count)};
  return {type, Value::Integers(count)};
}

double store(DType t, double value) {
  return t == DType::f32 ? static_cast<double>(static_cast<float>(value)) : round_to(t, value);
}

Result<Value> interpret(Op op, std::span<const Value> operands, const Attributes& attributes, int rank) {
  std::vector<Value> results = PERI_TRY(interpret_results(op, operands, attributes, rank));
  return std::move(results[0]);
}

Result<std::vector<Value>> interpret_results(Op op, std::span<const Value> operands,
                                             const Attributes& attributes, int rank) {
  PERI_CHECK(!info(op).has(kSource) && !info(op).has(kCollective), "needs a program or a world");
  std::vector<TensorType> types;
  std::vector<const Value*> pointers;
  for (const Value& value : operands) {
    types.push_back(value.type);
    pointers.push_back(&value);
  }
  Attributes completed = PERI_TRY(complete(op, attributes, types));
  TensorType type = PERI_TRY(infer(op, types, completed));
  return reference::compute_results({op, pointers, completed, type, rank});
}

namespace reference {

std::vector<Value> compute_results(const OpCall& call) {
  if (info(call.op).family == Family::sorting) return sorted(call);
  std::vector<Value> only;
  only.push_back(compute(call));
  return only;
}

Value compute(const OpCall& call) {
  switch (info(call.op).family) {
    case Family::pointwise:
      return call.op == Op::cast ? cast(call) : pointwise(call);
    case Family::creation:
      return create(call);
    case Family::reduction:
      return reduction(call);
    case Family::arg_reduction:
      return arg_reduction(call);
    case Family::sorting:
      return std::move(sorted(call)[0]);
    case Family::normalisation:
      return normalised(call);
    case Family::matmul:
      return matmul(call);
    case Family::composite:
      return composite(call);
    case Family::gather:
      return gathered(call);
    case Family::scatter:
      return scattered(call);
    case Family::scan:
      return scanned(call);
    case Family::view:
      return viewed(call);
    case Family::copy:
      return copied(call);
    case Family::device_copy:
      return retyped(call);
    case Family::rope:
      return rope(call);
    case Family::attention:
      return attention(call);
    case Family::source:
    case Family::window:
    case Family::result:
    case Family::collective:
    case Family::message:
      break;
  }
  PERI_CHECK(false, "what needs more than operands is the caller's");
}

Index index_of(int64_t element, const Shape& shape) {
  Index index{};
  for (int d = shape.rank() - 1; d >= 0; --d) {
    index[d] = element % shape[d];
    element /= shape[d];
  }
  return index;
}

int64_t element_of(const Index& index, const Shape& shape) {
  int64_t element = 0;
  for (int d = 0; d < shape.rank(); ++d) element = element * shape[d] + index[d];
  return element;
}

int64_t broadcast_element(const Index& index, int rank, const Shape& shape) {
  int64_t element = 0;
  for (int d = 0; d < shape.rank(); ++d)
    element = element * shape[d] + (shape[d] == 1 ? 0 : index[rank - shape.rank() + d]);
  return element;
}

int64_t wrap(DType t, int64_t value) {
  switch (t) {
    case DType::i32:
      return scalar::convert<int32_t>(value);
    case DType::u8:
      return scalar::convert<uint8_t>(value);
    case DType::boolean:
      return value != 0;
    case DType::i64:
      return value;
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      break;
  }
  PERI_CHECK(false, "not an integer dtype");
}

}  // namespace reference
}  // namespace peri
