// Pointwise programs as device code: every instruction's value is rounded to its dtype, so that fusing
// changes no bit. Where the innermost dimension of every operand is contiguous (or repeats one element), a
// thread takes packs of up to 16 bytes; else one element.
#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "core/types/scalar.hpp"
#include "kernels/cuda/compute/kernel_compile.hpp"

namespace peri::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kLarge = 8 << 20;  // elements from which a thread takes two packs

// A number as a literal of a register of dtype, by the table's cast.
std::string literal(DType dtype, double number) {
  if (is_float(dtype))
    return fmt::format("std::bit_cast<float>(0x{:08X}u)",
                       std::bit_cast<uint32_t>(static_cast<float>(round_to(dtype, number))));
  int64_t value = 0;
  switch (dtype) {
    case DType::i32:
      value = scalar::convert<int32_t>(number);
      break;
    case DType::u8:
      value = scalar::convert<uint8_t>(number);
      break;
    case DType::boolean:
      value = number != 0;
      break;
    case DType::i64:
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      value = scalar::convert<int64_t>(number);
  }
  return fmt::format("static_cast<int64_t>(0x{:X}ull)", std::bit_cast<uint64_t>(value));
}

std::string expression(const FusedInstruction& instruction) {
  if (instruction.op == Op::full) return literal(instruction.dtype, instruction.value);
  std::string operands;
  for (int reg : instruction.operands) operands += fmt::format("{}r{}", operands.empty() ? "" : ", ", reg);
  const char* made = element(instruction.dtype);
  if (instruction.op == Op::cast) return fmt::format("cast<{}>({})", made, operands);
  if (instruction.op == Op::where) return fmt::format("choose<{}>({})", made, operands);
  return fmt::format("apply<Op::{}, {}>({})", to_string(instruction.op), made, operands);
}

// The largest pack that fits every operand's layout; 1 if there is none.
int pack_of(const Space& space, const KernelCall& call) {
  const size_t outputs = call.outputs.size();
  int64_t widest = 1;
  for (size_t n = 0; n < space.strides.size(); ++n) {
    const int64_t stride = space.inner_stride(static_cast<int>(n));
    if (stride != 1 && (stride != 0 || n < outputs)) return 1;
    const DType dtype = n < outputs ? call.outputs[n].dtype : call.inputs[n - outputs].dtype;
    if (stride == 1) widest = std::max(widest, size_of(dtype));
  }
  int64_t pack = 16 / widest;
  auto divides = [&](int64_t number) {
    while (pack > 1 && number % pack != 0) pack /= 2;
  };
  if (space.shape.rank() > 1) divides(space.inner());  // a space of one dimension has a tail instead
  for (size_t n = 0; n < space.strides.size(); ++n)
    for (int d = 0; d + 1 < space.shape.rank(); ++d)
      if (space.inner_stride(static_cast<int>(n)) == 1) divides(space.strides[n][d]);
  return static_cast<int>(pack);
}

class Text {
 public:
  Text(const KernelCall& call, const Space& space, int pack, int unroll)
      : call_(call), program_(call.spec.fused), outputs_(call.outputs.size()) {
    text_ = fmt::format(
        "#include \"kernels/cuda/compute/pointwise.cuh\"\nusing namespace peri;\nusing namespace "
        "peri::kernels::cuda;\n"
        "using Index = {};\nusing Operands = AddressArray<{}>;\nusing Walk = Space<{}, {}>;\n",
        index_type(space), space.strides.size(), space.strides.size(), rank_of(space));
    add_program();
    add_element();
    add_kernels(space, pack, unroll);
  }
  std::string take() { return std::move(text_); }

 private:
  // Operand n of the space is output n, or input n - outputs; where its address and dtype are.
  size_t address(size_t n) const { return n < outputs_ ? call_.inputs.size() + n : n - outputs_; }
  const char* type(size_t n) const {
    return element(n < outputs_ ? call_.outputs[n].dtype : call_.inputs[n - outputs_].dtype);
  }
  size_t operands() const { return outputs_ + call_.inputs.size(); }

  void add_program() {
    std::string parameters;
    for (size_t n = outputs_; n < operands(); ++n)
      parameters += fmt::format("{}Register<{}> r{}", parameters.empty() ? "" : ", ", type(n), n - outputs_);
    for (size_t n = 0; n < outputs_; ++n)
      parameters += fmt::format("{}Register<{}>& o{}", parameters.empty() ? "" : ", ", type(n), n);
    text_ += fmt::format("inline void program({}) {{\n", parameters);
    size_t reg = program_.operand_dtypes.size();
    for (const FusedInstruction& instruction : program_.instructions)
      text_ += fmt::format("  const Register<{}> r{} = {};\n", element(instruction.dtype), reg++,
                           expression(instruction));
    for (size_t n = 0; n < outputs_; ++n) text_ += fmt::format("  o{} = r{};\n", n, program_.results[n]);
    text_ += "}\n";
  }

  // program(in..., out...) with operands named by two prefixes and a suffix.
  std::string arguments(const char* in, const char* out) const {
    std::string list;
    for (size_t n = outputs_; n < operands(); ++n)
      list += fmt::format("{}{}", list.empty() ? "" : ", ", fmt::format(fmt::runtime(in), n));
    for (size_t n = 0; n < outputs_; ++n)
      list += fmt::format("{}{}", list.empty() ? "" : ", ", fmt::format(fmt::runtime(out), n));
    return list;
  }

  void add_element() {
    text_ += fmt::format(
        "inline void element(const Operands& a, const Walk& walk, Index i) {{\n"
        "  int64_t at[{}];\n  walk.locate(i, at);\n",
        operands());
    for (size_t n = outputs_; n < operands(); ++n)
      text_ += fmt::format("  const auto x{} = load<{}>(a.at[{}], at[{}]);\n", n, type(n), address(n), n);
    for (size_t n = 0; n < outputs_; ++n) text_ += fmt::format("  Register<{}> y{};\n", type(n), n);
    text_ += fmt::format("  program({});\n", arguments("x{}", "y{}"));
    for (size_t n = 0; n < outputs_; ++n)
      text_ += fmt::format("  store<{}>(a.at[{}], at[{}], y{});\n", type(n), address(n), n, n);
    text_ += "}\n";
  }

  void add_kernels(const Space& space, int pack, int unroll) {
    text_ +=
        "extern \"C\" __global__ void elements(const Operands a, const Walk walk) {\n"
        "  const Index i = global_thread<Index>();\n"
        "  if (i < static_cast<Index>(walk.total)) element(a, walk, i);\n}\n";
    if (pack == 1) return;
    text_ += fmt::format(
        "extern \"C\" __global__ void packs(const Operands a, const Walk walk) {{\n"
        "  constexpr int pack = {}, unroll = {};\n"
        "  const Index packs = static_cast<Index>(walk.total / pack);\n"
        "  const Index first = static_cast<Index>(blockIdx.x) * (unroll * {}) + threadIdx.x;\n"
        "  int64_t at[unroll][{}];\n",
        pack, unroll, kThreads, operands());
    for (size_t n = 0; n < operands(); ++n)
      text_ += fmt::format("  Pack<{}, {}> p{}[unroll];\n", type(n),
                           n >= outputs_ && space.inner_stride(static_cast<int>(n)) == 0 ? "1" : "pack", n);
    text_ += fmt::format(
        "#pragma unroll\n  for (int u = 0; u < unroll; ++u) {{\n    const Index i = first + u * {};\n"
        "    if (i >= packs) {{\n"
        "      const Index rest = packs * pack + (i - packs);\n"
        "      if (rest < static_cast<Index>(walk.total)) element(a, walk, rest);\n      continue;\n    }}\n"
        "    walk.locate(i * pack, at[u]);\n",
        kThreads);
    for (size_t n = outputs_; n < operands(); ++n)
      text_ += fmt::format("    p{}[u].read(a.at[{}], at[u][{}]);\n", n, address(n), n);
    text_ += fmt::format(
        "  }}\n#pragma unroll\n  for (int u = 0; u < unroll; ++u) {{\n"
        "    if (first + u * {} >= packs) continue;\n#pragma unroll\n"
        "    for (int v = 0; v < pack; ++v) {{\n",
        kThreads);
    for (size_t n = 0; n < outputs_; ++n) text_ += fmt::format("      Register<{}> y{};\n", type(n), n);
    text_ += fmt::format("      program({});\n", arguments("p{}[u].get(v)", "y{}"));
    for (size_t n = 0; n < outputs_; ++n) text_ += fmt::format("      p{}[u].set(v, y{});\n", n, n);
    text_ += "    }\n";
    for (size_t n = 0; n < outputs_; ++n)
      text_ += fmt::format("    p{}[u].write(a.at[{}], at[u][{}]);\n", n, address(n), n);
    text_ += "  }\n}\n";
  }

  const KernelCall& call_;
  const FusedProgram& program_;
  size_t outputs_;
  std::string text_;
};

}  // namespace

CompiledCudaKernel compile_pointwise(const KernelCall& call) {
  // Operands: the outputs, then the inputs.
  Space space{call.out().shape, {}};
  for (const OperandType& output : call.outputs) space.strides.push_back(output.view.strides);
  for (const OperandType& input : call.inputs)
    space.strides.push_back(broadcast_to(input.view, space.shape).strides);
  space = reordered(std::move(space));
  const int pack = pack_of(space, call), unroll = space.total() >= kLarge ? 2 : 1;
  Constants constants;
  constants.add(space);
  Generated generated;
  generated.text = Text(call, space, pack, unroll).take();
  const Launch elements{"elements", blocks_for(space.total(), kThreads), kThreads, constants};
  if (pack > 1) {
    const int64_t threads = space.total() / pack + space.total() % pack;
    generated.launches = {{"packs", blocks_for(threads, kThreads * unroll), kThreads, constants}};
    generated.unaligned = {elements};
    generated.alignment = 16;
  } else {
    generated.launches = {elements};
  }
  return make_kernel(std::move(generated));
}

}  // namespace peri::kernels::cuda
