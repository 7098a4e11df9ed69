// What a collective's call with an epilogue takes and makes.
#include <algorithm>

#include <fmt/format.h>

#include "core/ops/attributes_of.hpp"
#include "core/ops/collective.hpp"

namespace peri {
namespace {

// The program's part of the outputs. `inputs`: of the registers after the first.
Result<std::vector<TensorType>> infer_program(const FusedProgram& program, const TensorType& collected,
                                              std::span<const TensorType> inputs) {
  const std::vector<DType> dtypes = PERI_TRY(infer(program));
  if (dtypes.empty()) return fail(Code::InvalidArgument, "its program has no result");
  if (program.operand_dtypes.empty())
    return fail(Code::InvalidArgument, "its program has no register for the collective's result");
  for (size_t i = 0; i < program.operand_dtypes.size(); ++i) {
    const TensorType wanted{program.operand_dtypes[i], collected.shape, collected.place};
    if (const TensorType& given = i == 0 ? collected : inputs[i - 1]; given != wanted)
      return fail(given.dtype != wanted.dtype ? Code::DTypeMismatch : Code::ShapeMismatch,
                  fmt::format("register {} is {}, and {} is {}", i, wanted.to_string(),
                              i == 0 ? "the collective's result" : fmt::format("input {}", i + 1),
                              given.to_string()));
  }
  if (dtypes[0] != collected.dtype)
    return fail(Code::DTypeMismatch,
                fmt::format("its first result is {}, and overwrites the collective's, which is {}",
                            to_string(dtypes[0]), to_string(collected.dtype)));
  const int operands = static_cast<int>(program.operand_dtypes.size());
  if (program.results[0] < operands)
    return fail(Code::InvalidArgument, "its first result is not made by an instruction");
  for (size_t i = static_cast<size_t>(program.results[0] - operands) + 1; i < program.instructions.size();
       ++i)
    if (std::ranges::find(program.instructions[i].operands, 0) != program.instructions[i].operands.end())
      return fail(Code::InvalidArgument,
                  "an instruction reads the collective's result after the first result has overwritten it");
  std::vector<TensorType> outputs;
  for (DType dtype : dtypes) outputs.push_back({dtype, collected.shape, collected.place});
  return outputs;
}

}  // namespace

int Epilogue::input_count() const {
  const size_t registers = program.instructions.empty() ? 0 : program.operand_dtypes.size();
  return static_cast<int>(std::max<size_t>(registers, 1)) - 1 + (rms_norm_eps ? 1 : 0);
}

int Epilogue::output_count() const {
  return (program.instructions.empty() ? 1 : static_cast<int>(program.results.size())) +
         (rms_norm_eps ? 1 : 0);
}

std::string Epilogue::to_string() const {
  std::string text = program.instructions.empty() ? "" : fmt::format("{{{}}}", program.to_string());
  if (rms_norm_eps)
    text += fmt::format("{}rms_norm {{eps = {}}}", text.empty() ? "" : " ",
                        peri::to_string(AttributeValue(*rms_norm_eps)));
  return text;
}

Result<std::vector<TensorType>> infer_outputs(const CollectiveSpec& spec,
                                              std::span<const TensorType> operands) {
  const CollectiveInfo& row = spec.info();
  const Epilogue& epilogue = spec.epilogue;
  if (!epilogue.empty() && (row.inputs != 1 || row.outputs != 1))
    return fail(Code::InvalidArgument, "it has no result for an epilogue");
  if (operands.size() != static_cast<size_t>(std::max(spec.input_count(), 1)))
    return fail(Code::InvalidArgument,
                fmt::format("it takes {} inputs, not {}", spec.input_count(), operands.size()));
  const TensorType collected = PERI_TRY(infer(spec, operands[0]));
  std::vector<TensorType> outputs;
  if (row.outputs == 0) return outputs;
  outputs = {collected};
  auto in_epilogue = [](Error error) {
    error.message = "its epilogue: " + error.message;
    return std::unexpected(std::move(error));
  };
  if (!epilogue.program.instructions.empty()) {
    auto made = infer_program(epilogue.program, collected, operands.subspan(1));
    if (!made) return in_epilogue(std::move(made).error());
    outputs = std::move(*made);
  }
  if (epilogue.rms_norm_eps) {
    const TensorType normalised[] = {outputs[0], operands.back()};
    auto made = infer(Op::rms_norm, normalised, AttributesOf<Op::rms_norm>{.eps = *epilogue.rms_norm_eps});
    if (!made) return in_epilogue(std::move(made).error());
    outputs.push_back(*made);
  }
  return outputs;
}

}  // namespace peri
