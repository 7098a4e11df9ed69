// Which function computes an op, and the walking of shapes.
#include "core/interpreter/interpreter_ops.hpp"

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
  PERI_CHECK(!info(op).has(kSource) && !info(op).has(kCollective), "needs a program or a world");
  std::vector<TensorType> types;
  std::vector<const Value*> pointers;
  for (const Value& value : operands) {
    types.push_back(value.type);
    pointers.push_back(&value);
  }
  Attributes completed = PERI_TRY(complete(op, attributes, types));
  TensorType type = PERI_TRY(infer(op, types, completed));
  return reference::compute({op, pointers, completed, type, rank});
}

namespace reference {

Value compute(const Call& call) {
  switch (call.op) {
#define PERI_POINTWISE(name, ...) case Op::name:
#include "core/ops/ops.def"
    return call.op == Op::cast ? cast(call) : pointwise(call);
    case Op::full:
    case Op::arange:
    case Op::rand:
    case Op::randn:
      return create(call);
    case Op::sum:
    case Op::mean:
    case Op::prod:
    case Op::max:
    case Op::min:
    case Op::argmax:
    case Op::argmin:
      return reduction(call);
    case Op::softmax:
    case Op::rms_norm:
    case Op::layer_norm:
      return normalised(call);
    case Op::matmul:
    case Op::linear:
      return matmul(call);
    case Op::embedding:
    case Op::index_select:
    case Op::index_copy:
    case Op::reshape:
    case Op::permute:
    case Op::slice:
    case Op::expand:
    case Op::shard:
    case Op::transpose:
    case Op::contiguous:
    case Op::cat:
    case Op::stack:
    case Op::copy_to:
      return move(call);
    case Op::rope:
      return rope(call);
    case Op::attention:
      return attention(call);
    case Op::input:
    case Op::constant:
    case Op::all_reduce:
    case Op::all_gather:
    case Op::reduce_scatter:
    case Op::all_to_all:
    case Op::broadcast:
    case Op::send:
    case Op::recv:
    case Op::barrier:
      break;
  }
  PERI_CHECK(false, "sources and collectives are the caller's");
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
