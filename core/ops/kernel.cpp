// How a kernel call is named, how a fused program prints, and what types its registers have.
#include "core/ops/kernel.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/ops/attributes_of.hpp"

namespace peri {

bool FusedInstruction::operator==(const FusedInstruction& other) const {
  return op == other.op && operands == other.operands && dtype == other.dtype &&
         same_number(value, other.value);
}

// "(f32, bf16) r2 = add(r0, r1) : f32; r3 = full(0.5) : f32 -> r3"
std::string FusedProgram::to_string() const {
  std::string text = "(";
  for (size_t i = 0; i < operand_dtypes.size(); ++i)
    text += fmt::format("{}{}", i ? ", " : "", peri::to_string(operand_dtypes[i]));
  text += ")";
  for (size_t i = 0; i < instructions.size(); ++i) {
    const FusedInstruction& instruction = instructions[i];
    std::string arguments = instruction.op == Op::full ? peri::to_string(AttributeValue(instruction.value))
                            : instruction.operands.empty()
                                ? ""
                                : fmt::format("r{}", fmt::join(instruction.operands, ", r"));
    text += fmt::format("{} r{} = {}({}) : {}", i ? ";" : "", operand_dtypes.size() + i,
                        peri::to_string(instruction.op), arguments, peri::to_string(instruction.dtype));
  }
  return text + (results.empty() ? " ->" : fmt::format(" -> r{}", fmt::join(results, ", r")));
}

Result<std::vector<DType>> infer(const FusedProgram& program) {
  std::vector<TensorType> registers;  // as scalars: shapes are the call's
  for (DType dtype : program.operand_dtypes) registers.push_back({dtype, {}});
  auto type_of = [&](int number) -> Result<TensorType> {
    if (number < 0 || static_cast<size_t>(number) >= registers.size())
      return fail(Code::InvalidArgument, fmt::format("no register {}", number));
    return registers[static_cast<size_t>(number)];
  };
  for (const FusedInstruction& instruction : program.instructions) {
    std::vector<TensorType> operands;
    for (int number : instruction.operands) operands.push_back(PERI_TRY(type_of(number)));
    const bool is_immediate = instruction.op == Op::full && operands.empty();
    if (!is_immediate && !info(instruction.op).has(kPointwise))
      return fail(Code::InvalidArgument, fmt::format("{} is not pointwise", peri::to_string(instruction.op)));
    if (!is_immediate) {
      Attributes attributes;
      if (instruction.op == Op::cast) attributes = AttributesOf<Op::cast>{.dtype = instruction.dtype};
      if (const TensorType made = PERI_TRY(infer(instruction.op, operands, attributes));
          made.dtype != instruction.dtype)
        return fail(Code::DTypeMismatch,
                    fmt::format("{} makes {}, not {}", peri::to_string(instruction.op),
                                peri::to_string(made.dtype), peri::to_string(instruction.dtype)));
    }
    registers.push_back({instruction.dtype, {}});
  }
  std::vector<DType> results;
  for (int number : program.results) results.push_back(PERI_TRY(type_of(number)).dtype);
  return results;
}

std::string KernelSpec::name() const {
  if (!is_fused()) return std::string(to_string(op));
  std::vector<std::string_view> ops;
  for (const FusedInstruction& instruction : fused.instructions)
    if (instruction.op != Op::full) ops.push_back(to_string(instruction.op));
  if (ops.empty()) return "full";
  if (ops.size() == 1 && fused.instructions.size() == 1) return std::string(ops[0]);
  constexpr size_t kNamed = 6;  // a long chain is named by its beginning
  const size_t more = ops.size() > kNamed ? ops.size() - kNamed : 0;
  ops.resize(ops.size() - more);
  std::string name = fmt::format("fused_{}", fmt::join(ops, "_"));
  return more ? fmt::format("{}_and_{}_more", name, more) : name;
}

}  // namespace peri
