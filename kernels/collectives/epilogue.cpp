#include "kernels/collectives/epilogue.hpp"

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"

namespace peri::kernels {
namespace {

TensorType type_of(const Operand& operand) {
  return {operand.type.dtype, operand.type.view.shape};
}

Status check_epilogue(const CollectiveStep& step) {
  const CollectiveSpec& spec = step.spec;
  auto refuse = [&](Code code, std::string_view message) {
    return fail(code, fmt::format("{}: {}", to_string(spec.op), message), spec.origin);
  };
  std::vector<TensorType> inputs;
  for (const Operand& input : step.inputs) inputs.push_back(type_of(input));
  const auto made = infer_outputs(spec, inputs);
  if (!made) return refuse(made.error().code, made.error().message);
  if (made->size() != step.outputs.size())
    return refuse(Code::InvalidArgument,
                  fmt::format("it gives {} outputs, not {}", made->size(), step.outputs.size()));
  for (size_t i = 0; i < made->size(); ++i)
    if (const TensorType given = type_of(step.outputs[i]); given != (*made)[i])
      return refuse(Code::ShapeMismatch, fmt::format("output {} is {}, and {} was given", i + 1,
                                                     (*made)[i].to_string(), given.to_string()));
  const bool shared = spec.algorithm->symmetric == kOutput || step.outputs[0].data == step.inputs[0].data;
  if (shared && spec.algorithm->end_barrier && !spec.end_barrier)
    return refuse(Code::InvalidArgument,
                  "its epilogue overwrites what peers may still be reading: it needs the end barrier");
  return {};
}

}  // namespace

Result<std::vector<ProgramStep>> without_epilogue(const CollectiveStep& step) {
  const Epilogue& epilogue = step.spec.epilogue;
  std::vector<ProgramStep> steps;
  if (epilogue.empty()) {
    steps.emplace_back(step);
    return steps;
  }
  PERI_TRY(check_epilogue(step));
  const Origin& origin = step.spec.origin;
  const Operand& collected = step.outputs[0];
  CollectiveStep collective{step.spec, {step.inputs[0]}, {collected}};
  collective.spec.epilogue = {};
  steps.emplace_back(std::move(collective));
  const auto norm = static_cast<size_t>(epilogue.rms_norm_eps ? 1 : 0);
  if (!epilogue.program.instructions.empty()) {
    KernelStep program{{}, step.inputs, {step.outputs.begin(), step.outputs.end()}, origin};
    program.spec.fused = epilogue.program;
    program.inputs[0] = collected;
    program.inputs.resize(program.inputs.size() - norm);
    program.outputs.resize(program.outputs.size() - norm);
    steps.emplace_back(std::move(program));
  }
  if (norm)
    steps.emplace_back(
        KernelStep{{Op::rms_norm, AttributesOf<Op::rms_norm>{.eps = *epilogue.rms_norm_eps}, {}},
                   {collected, step.inputs.back()},
                   {step.outputs.back()},
                   origin});
  return steps;
}

Status run_with_epilogue(Backend& backend, const CollectiveSpec& spec, std::span<const Operand> inputs,
                         std::span<const Operand> outputs) {
  const CollectiveStep step{spec, {inputs.begin(), inputs.end()}, {outputs.begin(), outputs.end()}};
  for (const ProgramStep& part : PERI_TRY(without_epilogue(step)))
    PERI_TRY(std::visit(
        Overloaded{[&](const KernelStep& s) { return backend.launch(s.spec, s.inputs, s.outputs); },
                   [&](const CollectiveStep& s) { return backend.collective(s.spec, s.inputs, s.outputs); },
                   [&](const CopyStep& s) { return backend.copy(s.from, s.to); }},
        part));
  return {};
}

}  // namespace peri::kernels
