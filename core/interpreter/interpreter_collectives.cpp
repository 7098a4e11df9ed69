// The reference for collectives, once every member of the group has arrived: from all operands to all
// results.
#include "core/interpreter/interpreter_ops.hpp"
#include "core/ops/families.hpp"
#include "core/types/scalar.hpp"

namespace peri::reference {
namespace {

template <class T>
T combine(Reduce reduce, T x, T y) {
  switch (reduce) {
    case Reduce::sum:
    case Reduce::avg:
      return scalar::add(x, y);
    case Reduce::min:
      return scalar::minimum(x, y);
    case Reduce::max:
      return scalar::maximum(x, y);
    case Reduce::prod:
      return scalar::multiply(x, y);
  }
  PERI_CHECK(false, "not a reduction");
}

// In the order of the group, in double or int64, rounded once.
Value reduced(const Node& node, std::span<const Value* const> operands) {
  Result<Reduce> reduce = parse_reduce(node.attributes.get<std::string>("reduce"));
  PERI_CHECK(reduce, "the graph has been checked");
  Value result = *operands[0];
  auto accumulate = [&](auto& out) {
    for (const Value* operand : operands.subspan(1)) {
      const auto& in = std::get<std::decay_t<decltype(out)>>(operand->elements);
      for (size_t i = 0; i < out.size(); ++i) out[i] = combine(*reduce, out[i], in[i]);
    }
  };
  std::visit(accumulate, result.elements);
  DType dtype = result.type.dtype;
  if (!is_float(dtype)) {
    for (int64_t& element : std::get<Value::Integers>(result.elements)) element = wrap(dtype, element);
    return result;
  }
  double divisor = *reduce == Reduce::avg ? static_cast<double>(operands.size()) : 1.0;
  for (double& element : std::get<Value::Floats>(result.elements)) element = store(dtype, element / divisor);
  return result;
}

// Equal part `i` along `dim`; `type` is a part's.
Value nth_part(const Value& whole, int dim, size_t i, TensorType type) {
  return part(whole, dim, static_cast<int64_t>(i) * type.shape[dim], 1, type);
}

std::vector<Value> exchanged(const Node& node, std::span<const Value* const> operands) {
  int split = static_cast<int>(node.attributes.get<int64_t>("split_dim"));
  int concat = static_cast<int>(node.attributes.get<int64_t>("concat_dim"));
  TensorType part_type = operands[0]->type;
  part_type.shape[split] /= static_cast<int64_t>(operands.size());
  std::vector<Value> results;
  for (size_t receiver = 0; receiver < operands.size(); ++receiver) {
    std::vector<Value> parts;
    std::vector<const Value*> pointers;
    for (const Value* operand : operands) parts.push_back(nth_part(*operand, split, receiver, part_type));
    for (const Value& arrived : parts) pointers.push_back(&arrived);
    results.push_back(join(pointers, concat, node.type));
  }
  return results;
}

}  // namespace

std::vector<Value> collective(const Node& node, std::span<const Value* const> operands) {
  const size_t members = operands.size();
  auto dim = [&] { return static_cast<int>(node.attributes.get<int64_t>("dim")); };
  switch (op_of<CollectiveOp>(node.op)) {
    case CollectiveOp::all_reduce:
      return std::vector<Value>(members, reduced(node, operands));
    case CollectiveOp::all_gather:
      return std::vector<Value>(members, join(operands, dim(), node.type));
    case CollectiveOp::reduce_scatter: {
      const Value whole = reduced(node, operands);
      std::vector<Value> results;
      for (size_t i = 0; i < members; ++i) results.push_back(nth_part(whole, dim(), i, node.type));
      return results;
    }
    case CollectiveOp::all_to_all:
      return exchanged(node, operands);
    case CollectiveOp::broadcast: {
      const auto root = static_cast<int>(node.attributes.get<int64_t>("root"));
      return std::vector<Value>(members, *operands[node.attributes.get<Group>("group").index_of(root)]);
    }
  }
  PERI_CHECK(false, "not a collective of a whole group");
}

}  // namespace peri::reference
