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
  const Reduce reduce = node.attributes.get<"reduce">();
  Value result = *operands[0];
  auto accumulate = [&](auto& out) {
    for (const Value* operand : operands.subspan(1)) {
      const auto& in = std::get<std::decay_t<decltype(out)>>(operand->elements);
      for (size_t i = 0; i < out.size(); ++i) out[i] = combine(reduce, out[i], in[i]);
    }
  };
  std::visit(accumulate, result.elements);
  DType dtype = result.type.dtype;
  if (!is_float(dtype)) {
    for (int64_t& element : std::get<Value::Integers>(result.elements)) element = wrap(dtype, element);
    return result;
  }
  double divisor = reduce == Reduce::avg ? static_cast<double>(operands.size()) : 1.0;
  for (double& element : std::get<Value::Floats>(result.elements)) element = store(dtype, element / divisor);
  return result;
}

// Equal part `i` along `dim`; `type` is a part's.
Value nth_part(const Value& whole, int dim, size_t i, TensorType type) {
  return part(whole, dim, static_cast<int64_t>(i) * type.shape[dim], 1, type);
}

std::vector<Value> exchanged(const Node& node, std::span<const Value* const> operands) {
  const auto given = node.attributes.as<Op::all_to_all>();
  TensorType part_type = operands[0]->type;
  part_type.shape[given.split_dim] /= static_cast<int64_t>(operands.size());
  std::vector<Value> results;
  for (size_t receiver = 0; receiver < operands.size(); ++receiver) {
    std::vector<Value> parts;
    std::vector<const Value*> pointers;
    for (const Value* operand : operands)
      parts.push_back(nth_part(*operand, given.split_dim, receiver, part_type));
    for (const Value& arrived : parts) pointers.push_back(&arrived);
    results.push_back(join(pointers, given.concat_dim, node.type));
  }
  return results;
}

}  // namespace

std::vector<Value> collective(const Node& node, std::span<const Value* const> operands) {
  const size_t members = operands.size();
  switch (op_of<CollectiveOp>(node.op)) {
    case CollectiveOp::all_reduce:
      return std::vector<Value>(members, reduced(node, operands));
    case CollectiveOp::all_gather:
      return std::vector<Value>(members, join(operands, node.attributes.as<Op::all_gather>().dim, node.type));
    case CollectiveOp::reduce_scatter: {
      const Value whole = reduced(node, operands);
      const int dim = node.attributes.as<Op::reduce_scatter>().dim;
      std::vector<Value> results;
      for (size_t i = 0; i < members; ++i) results.push_back(nth_part(whole, dim, i, node.type));
      return results;
    }
    case CollectiveOp::all_to_all:
      return exchanged(node, operands);
    case CollectiveOp::broadcast: {
      const auto broadcast = node.attributes.as<Op::broadcast>();
      return std::vector<Value>(members,
                                *operands[broadcast.group.index_of(static_cast<int>(broadcast.root))]);
    }
    case CollectiveOp::reduce: {
      const auto given = node.attributes.as<Op::reduce>();
      std::vector<Value> results;
      for (const Value* operand : operands) results.push_back(*operand);
      results[static_cast<size_t>(given.group.index_of(static_cast<int>(given.root)))] =
          reduced(node, operands);
      return results;
    }
  }
  PERI_CHECK(false, "not a collective of a whole group");
}

}  // namespace peri::reference
