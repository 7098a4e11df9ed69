// Which family a kernel is of, and what a call is checked for.
#include "kernels/compute/call.hpp"

#include <vector>

#include <fmt/format.h>

namespace peri::kernels {
namespace {

Status check_layouts(const KernelCall& call) {
  auto check = [&](const OperandType& operand, const char* role) -> Status {
    PERI_TRY(checked_numel(operand.view.shape));
    if (operand.view.shape.rank() == operand.view.strides.rank()) return {};
    return fail(Code::InvalidArgument,
                fmt::format("{}: an {} of shape {} has strides {}", call.spec.name(), role,
                            operand.view.shape.to_string(), operand.view.strides.to_string()));
  };
  for (const OperandType& input : call.inputs) PERI_TRY(check(input, "input"));
  for (const OperandType& output : call.outputs) PERI_TRY(check(output, "output"));
  return {};
}

// The attributes completed, the op's own rule kept, and the outputs what the rule says.
Result<Attributes> check_types(const KernelCall& call) {
  if (const size_t results = info(call.spec.op).results; call.outputs.size() != results)
    return fail(Code::InvalidArgument,
                fmt::format("makes {} output{}, not {}", results == 1 ? "one" : fmt::to_string(results),
                            results == 1 ? "" : "s", call.outputs.size()));
  std::vector<TensorType> types;
  for (const OperandType& input : call.inputs) types.push_back({input.dtype, input.view.shape});
  Attributes attributes = PERI_TRY(complete(call.spec.op, call.spec.attributes, types));
  const ResultTypes rule = PERI_TRY(infer_results(call.spec.op, types, attributes));
  for (size_t i = 0; i < rule.size(); ++i) {
    const TensorType made{call.outputs[i].dtype, call.outputs[i].view.shape};
    if (made.dtype != rule[i].dtype || made.shape != rule[i].shape)
      return fail(made.dtype != rule[i].dtype ? Code::DTypeMismatch : Code::ShapeMismatch,
                  fmt::format("makes {}, and the output is {}", rule[i].to_string(), made.to_string()));
  }
  return attributes;
}

Status check_program(const KernelCall& call) {
  const FusedProgram& program = call.spec.fused;
  if (program.operand_dtypes.size() != call.inputs.size() || program.results.size() != call.outputs.size() ||
      call.outputs.empty())
    return fail(Code::InvalidArgument,
                fmt::format("{}: the program has {} operands and {} results, the call {} and {}",
                            call.spec.name(), program.operand_dtypes.size(), program.results.size(),
                            call.inputs.size(), call.outputs.size()));
  auto results = infer(program);
  if (!results) {
    results.error().message = fmt::format("{}: {}", call.spec.name(), results.error().message);
    return std::unexpected(std::move(results).error());
  }
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (call.inputs[i].dtype != program.operand_dtypes[i])
      return fail(Code::DTypeMismatch,
                  fmt::format("{}: operand {} is {}, not {}", call.spec.name(), operand_name(i),
                              to_string(call.inputs[i].dtype), to_string(program.operand_dtypes[i])));
    if (PERI_TRY(broadcast(call.in(i).shape, call.out().shape)) != call.out().shape)
      return fail(Code::ShapeMismatch,
                  fmt::format("{}: operand {} of shape {} does not broadcast to {}", call.spec.name(),
                              operand_name(i), call.in(i).shape.to_string(), call.out().shape.to_string()));
  }
  for (size_t i = 0; i < call.outputs.size(); ++i) {
    if (call.outputs[i].dtype != (*results)[i])
      return fail(Code::DTypeMismatch, fmt::format("{}: output {} does not match register {}",
                                                   call.spec.name(), i, program.results[i]));
    if (call.outputs[i].view.shape != call.out().shape)
      return fail(Code::ShapeMismatch,
                  fmt::format("{}: outputs of shapes {} and {}", call.spec.name(),
                              call.out().shape.to_string(), call.outputs[i].view.shape.to_string()));
  }
  return {};
}

}  // namespace

Result<Family> family_of(const KernelSpec& spec) {
  if (spec.is_fused()) return Family::pointwise;
  const Family family = info(spec.op).family;
  switch (family) {
#define PERI_KERNEL_FAMILY(name, ...) case Family::name:
#include "core/ops/families.def"
    if (family != Family::pointwise) return family;
    break;
#define PERI_KERNEL_FAMILY(...)
#define PERI_FAMILY(name, ...) case Family::name:
#include "core/ops/families.def"
    break;
  }
  return fail(Code::InvalidArgument, fmt::format("{} is not a compute kernel", to_string(spec.op)));
}

Result<KernelSpec> checked(const KernelCall& call) {
  PERI_TRY(check_layouts(call));
  if (call.spec.is_fused()) {
    PERI_TRY(check_program(call));
    return call.spec;
  }
  Result<Attributes> attributes = check_types(call);
  if (!attributes) {
    attributes.error().message = fmt::format("{}: {}", to_string(call.spec.op), attributes.error().message);
    return std::unexpected(std::move(attributes).error());
  }
  return KernelSpec{call.spec.op, std::move(*attributes), {}};
}

}  // namespace peri::kernels
