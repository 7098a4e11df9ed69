// See session.hpp.
#include "bindings/session/session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/ops/attributes_of.hpp"
#include "core/ops/positions.hpp"

namespace peri::session {
namespace {

// Every error that concerns operands shows them: name, type, and the line that made each.
Error with_operands(Error error, const std::vector<Argument>& operands, const Origin& origin, Op op) {
  if (!error.where.known()) error.where = origin;
  const std::string name(to_string(op));  // a collective's own errors begin with it and its operand's type
  if (!error.message.starts_with(name + ": ") && !error.message.starts_with(name + " "))
    error.message = name + ": " + error.message;
  if (!error.context.empty()) return error;
  for (size_t i = 0; i < operands.size(); ++i) {
    const auto* v = std::get_if<ScriptValue>(&operands[i]);
    if (!v) continue;
    std::string line = fmt::format("{} : {}", static_cast<char>('a' + i % 26), v->type().to_string());
    if (v->made.known()) line += "   made at " + v->made.to_string();
    error.context.push_back(std::move(line));
  }
  return error;
}

kernels::Operand windowed(const kernels::Tensor& t, const View& view) {
  return {t.storage->data() + bytes_of(view.offset, t.type.dtype),
          {t.type.dtype, {view.shape, view.strides, {}}}};
}

}  // namespace

Result<kernels::Tensor> Session::empty(const TensorType& type) {
  PERI_TRY(checked_numel(type.shape));
  return kernels::Tensor{PERI_TRY(backend_->allocate(type.bytes(), type.place)), type,
                         View::contiguous(type.shape)};
}

Result<kernels::Tensor> Session::empty_symmetric(const TensorType& type, const Group& group) {
  PERI_TRY(checked_numel(type.shape));
  return kernels::Tensor{PERI_TRY(backend_->allocate_symmetric(type.bytes(), group)), type,
                         View::contiguous(type.shape)};
}

Result<kernels::Tensor> Session::readable(const kernels::Tensor& t) {
  PERI_TRY(backend_->synchronize());
  if (t.type.place == Place::host && t.view.is_contiguous()) return t;
  kernels::Tensor copy = PERI_TRY(empty({t.type.dtype, t.type.shape, Place::host}));
  PERI_TRY(backend_->copy(operand_of(t), operand_of(copy)));
  PERI_TRY(backend_->synchronize());
  return copy;
}

// A plain number takes the dtype of the tensors beside it, which must hold it.
static Status check_numbers(Op op, const std::vector<Argument>& operands, const Origin& origin) {
  const DType dtype = scalar_dtype(op, operands);
  for (const Argument& operand : operands) {
    const auto* number = std::get_if<double>(&operand);
    if (!number || holds(dtype, *number)) continue;
    Error error{Code::DTypeMismatch,
                fmt::format("{} cannot hold {}, and a plain number takes the tensor's dtype",
                            to_string(dtype), *number)};
    error.hint = "cast the tensor: x:to(\"f32\")";
    return std::unexpected(with_operands(std::move(error), operands, origin, op));
  }
  return {};
}

Result<ScriptValue> Session::apply(Op op, const std::vector<Argument>& operands, Attributes attributes,
                                   const Origin& origin) {
  std::vector<ScriptValue> results = PERI_TRY(apply_results(op, operands, std::move(attributes), origin));
  return std::move(results[0]);
}

Result<std::vector<ScriptValue>> Session::apply_results(Op op, const std::vector<Argument>& operands,
                                                        Attributes attributes, const Origin& origin) {
  if (op == Op::shard) {
    const AttributeValue* given = attributes.find("group");
    const auto* group = given ? std::get_if<Group>(given) : nullptr;
    if (group && group->index_of(rank()) < 0)
      return std::unexpected(with_operands(
          {Code::InvalidArgument, not_in_group(*group, rank()) + ", and has no part"}, operands, origin, op));
  }
  PERI_TRY(check_numbers(op, operands, origin));
  if (info(op).has(kComposite)) {
    std::vector<TensorType> types;
    for (const Argument& a : operands) {
      if (!std::holds_alternative<ScriptValue>(a))
        return fail(Code::InvalidArgument, std::string(to_string(op)) + ": takes tensors only", origin);
      types.push_back(std::get<ScriptValue>(a).type());
    }
    auto completed = complete(op, attributes, types);
    if (!completed) return std::unexpected(with_operands(completed.error(), operands, origin, op));
    auto steps = decompose(op, types, *completed);
    if (!steps) return std::unexpected(with_operands(steps.error(), operands, origin, op));
    std::vector<Argument> values = operands;
    for (const Step& step : *steps) {
      std::vector<Argument> chosen;
      for (int i : step.operands) chosen.push_back(values[static_cast<size_t>(i)]);
      auto value = apply(step.op, chosen, step.attributes, origin);
      if (!value) return std::unexpected(with_operands(value.error(), operands, origin, op));
      values.emplace_back(std::move(*value));
    }
    return std::vector{std::get<ScriptValue>(values.back())};
  }
  auto values = trace_ ? trace_->add(op, operands, std::move(attributes), origin)
                       : apply_eagerly(op, operands, attributes, origin);
  if (!values) return std::unexpected(with_operands(values.error(), operands, origin, op));
  return values;
}

Result<std::vector<ScriptValue>> Session::apply_eagerly(Op op, const std::vector<Argument>& operands,
                                                        const Attributes& attributes, const Origin& origin) {
  const DType scalar = scalar_dtype(op, operands);
  std::vector<TensorType> types;
  std::vector<kernels::Tensor> tensors;
  for (const Argument& a : operands) {
    const auto* value = std::get_if<ScriptValue>(&a);
    if (value && value->is_symbol()) return refuse_symbol(origin);
    types.push_back(value ? value->type() : TensorType{scalar, {}, Place::device});
    if (value) tensors.push_back(value->tensor());
  }
  const Attributes completed = PERI_TRY(complete(op, attributes, types));
  const ResultTypes made = PERI_TRY(infer_results(op, types, completed));
  if (info(op).has(kPointwise))
    return std::vector{ScriptValue{PERI_TRY(pointwise(op, operands, made[0])), origin}};
  if (tensors.size() != operands.size())
    return fail(Code::InvalidArgument, "takes tensors, not plain numbers");
  if (const auto positions = positions_of(op, completed, types.size())) {
    const kernels::Tensor values = PERI_TRY(readable(tensors[positions->operand]));
    const Shape& looked_up = types[positions->of].shape;
    PERI_TRY(check_positions(*positions, values.data(), values.type, looked_up[positions->dim]));
  }
  if (made.size() == 1)
    return std::vector{ScriptValue{PERI_TRY(compute(op, tensors, completed, made[0], origin)), origin}};
  std::vector<ScriptValue> results;
  for (kernels::Tensor& result : PERI_TRY(launch(op, tensors, completed, made)))
    results.push_back({std::move(result), origin});
  return results;
}

Result<kernels::Tensor> Session::pointwise(Op op, const std::vector<Argument>& operands,
                                           const TensorType& type) {
  KernelSpec spec;
  std::vector<kernels::Operand> inputs;
  const DType scalar = scalar_dtype(op, operands);
  const auto tensors =
      std::count_if(operands.begin(), operands.end(), [](const Argument& a) { return a.index() == 0; });
  FusedInstruction instruction{op, {}, type.dtype};
  for (const Argument& a : operands) {
    if (const auto* value = std::get_if<ScriptValue>(&a)) {
      instruction.operands.push_back(static_cast<int>(inputs.size()));
      spec.fused.operand_dtypes.push_back(value->type().dtype);
      inputs.push_back(windowed(value->tensor(), broadcast_to(value->tensor().view, type.shape)));
    } else {
      instruction.operands.push_back(static_cast<int>(tensors) +
                                     static_cast<int>(spec.fused.instructions.size()));
      spec.fused.instructions.push_back({Op::full, {}, scalar, std::get<double>(a)});
    }
  }
  spec.fused.results.push_back(static_cast<int>(tensors) + static_cast<int>(spec.fused.instructions.size()));
  spec.fused.instructions.push_back(std::move(instruction));
  kernels::Tensor result = PERI_TRY(empty(type));
  const kernels::Operand output = operand_of(result);
  PERI_TRY(backend_->launch(spec, inputs, {&output, 1}));
  return result;
}

Result<kernels::Tensor> Session::compute(Op op, const std::vector<kernels::Tensor>& operands,
                                         const Attributes& attributes, const TensorType& type,
                                         const Origin& origin) {
  const OpInfo& row = info(op);
  if (row.has(kView)) {
    const kernels::Tensor& in = operands[0];
    if (auto view = view_of(op, attributes, in.view, type.shape, rank()))
      return kernels::Tensor{in.storage, type, *view};
    kernels::Tensor packed = PERI_TRY(compute(Op::contiguous, operands, {}, in.type, origin));
    auto view = view_of(op, attributes, packed.view, type.shape, rank());
    PERI_CHECK(view.has_value(), "a contiguous tensor has every view");
    return kernels::Tensor{packed.storage, type, *view};
  }
  if (row.has(kCollective)) return collective(op, operands[0], attributes, type, origin);
  if (op == Op::copy_to || op == Op::contiguous) {
    kernels::Tensor result = PERI_TRY(empty(type));
    PERI_TRY(backend_->copy(operand_of(operands[0]), operand_of(result)));
    return result;
  }
  std::vector<kernels::Tensor> results = PERI_TRY(launch(op, operands, attributes, type));
  return std::move(results[0]);
}

Result<std::vector<kernels::Tensor>> Session::launch(Op op, const std::vector<kernels::Tensor>& operands,
                                                     const Attributes& attributes, const ResultTypes& types) {
  std::vector<kernels::Tensor> results;
  for (size_t i = 0; i < types.size(); ++i) results.push_back(PERI_TRY(empty(types[i])));
  std::vector<kernels::Operand> inputs, outputs;
  for (const kernels::Tensor& t : operands) inputs.push_back(operand_of(t));
  for (const kernels::Tensor& t : results) outputs.push_back(operand_of(t));
  PERI_TRY(backend_->launch({op, attributes, {}}, inputs, outputs));
  return results;
}

// A copy of `operand` in the group's symmetric scratch memory, which grows as needed (on all members alike).
Result<kernels::Tensor> Session::staged(const kernels::Tensor& operand, const Group& group) {
  std::shared_ptr<kernels::Storage>& storage = staging_[group];
  if (!storage || storage->bytes() < operand.type.bytes())
    storage = PERI_TRY(backend_->allocate_symmetric(std::max(operand.type.bytes(), Bytes(1)), group));
  kernels::Tensor copy{storage, operand.type, View::contiguous(operand.type.shape)};
  PERI_TRY(backend_->copy(operand_of(operand), operand_of(copy)));
  return copy;
}

// Without a named algorithm, eager collectives are staged (`ll`), which asks nothing of their operands.
Result<kernels::Tensor> Session::collective(Op op, const kernels::Tensor& operand,
                                            const Attributes& attributes, const TensorType& type,
                                            const Origin& origin) {
  const AlgorithmInfo* algorithm = find_algorithm(op, Algorithm::ll);
  if (const std::string name = attributes.find<"algorithm">().value_or(""); !name.empty())
    algorithm = PERI_TRY(parse_algorithm(op, name));
  CollectiveSpec spec = collective_spec(op, attributes, *algorithm, origin);
  spec.end_barrier = true;
  const Group& group = spec.group;
  if (group.index_of(rank()) < 0) return fail(Code::InvalidArgument, not_in_group(group, rank()), origin);
  kernels::Tensor input = operand;
  const Allocator allocator = operand.storage->allocator();
  const auto* symmetric = std::get_if<SymmetricAllocator>(&allocator);
  const bool in_place_memory =
      operand.view.is_contiguous() && symmetric && algorithm->works_in_memory_of(symmetric->group, group);
  if (algorithm->symmetric == kInput && (!in_place_memory || algorithm->clobbers_input))
    input = PERI_TRY(staged(operand, group));
  else if (!operand.view.is_contiguous())
    input = PERI_TRY(compute(Op::contiguous, {operand}, {}, operand.type, origin));
  kernels::Tensor result =
      algorithm->symmetric == kOutput ? PERI_TRY(empty_symmetric(type, group)) : PERI_TRY(empty(type));
  const kernels::Operand in = operand_of(input), out = operand_of(result);
  const auto inputs = static_cast<size_t>(spec.info().inputs),
             outputs = static_cast<size_t>(spec.info().outputs);
  if (outputs == 0) PERI_TRY(backend_->copy(in, out));  // send and barrier give their operand back
  PERI_TRY(backend_->collective(spec, {&in, inputs}, {&out, outputs}));
  return result;
}

Status Session::assign(const ScriptValue& target, const ScriptValue& value, const Origin& origin) {
  if (trace_) return trace_->assign(target, value, origin);
  if (target.is_symbol() || value.is_symbol()) return refuse_symbol(origin);
  if (target.type() != value.type())
    return fail(Code::ShapeMismatch,
                "in place: the result is " + value.type().to_string() + ", the tensor is " +
                    target.type().to_string(),
                origin);
  if (target.tensor().view.repeats()) return refuse_repeating(origin);
  // Where windows of one storage overlap, as if through a temporary.
  kernels::Tensor source = value.tensor();
  const kernels::Tensor& to = target.tensor();
  if (source.storage == to.storage && source.view == to.view) return {};
  if (source.storage == to.storage)
    source = PERI_TRY(compute(Op::contiguous, {source}, {}, source.type, origin));
  return backend_->copy(operand_of(source), operand_of(to));
}

}  // namespace peri::session
